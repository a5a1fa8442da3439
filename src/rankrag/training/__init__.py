"""From a blend to a model: `rows` and `batches` lay examples out, `loss` says what is learnt, `run` trains."""
