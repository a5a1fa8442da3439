from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from rankrag.config.schema import load_config
from rankrag.config.training import TrainConfig
from rankrag.errors import ConfigError
from rankrag.training.estimate import GIB, estimate, estimate_lines

LLAMA_8B = LlamaConfig(
    vocab_size=128256,
    hidden_size=4096,
    intermediate_size=14336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
)
SMALL = LlamaConfig(
    vocab_size=300,
    hidden_size=64,
    intermediate_size=160,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=4,
)
TOKENS = 96


def shape_of(config):
    """Make a model without weights."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def config_of(**fields):
    whole = {"model": "m", "blend": "b", "out": "o", "method": "full", "compile": False}
    return TrainConfig.model_validate(whole | fields)


def test_memory_of_a_full_run_in_shards_by_hand():
    found = estimate(shape_of(LLAMA_8B), config_of(sharding="fsdp2", tokens_per_batch=4096), devices=8)
    assert found.memory["weights"] + found.memory["gradients"] + found.memory["optimiser"] == 2 * 8_030_261_248
    layer = 218_103_808 + 2 * 4096  # with its norms
    rest = 8_030_261_248 - 32 * layer
    assert found.memory["copies to compute with"] == 2 * (2 * layer + rest)
    assert found.memory["activations"] == 2 * 4096 * 32 * (14 * 4096 + 4 * 14336)
    assert found.memory["mask"] == 4 * 4096**2


def test_an_adapter_needs_no_gradients_of_the_base():
    full, lora, qlora = (estimate(shape_of(LLAMA_8B), config_of(method=m)) for m in ("full", "lora", "qlora"))
    trained = 32 * 32 * (8 * 4096 + 3 * (4096 + 14336))
    assert lora.memory["optimiser"] == 8 * trained
    assert lora.memory["weights"] == 2 * 8_030_261_248 + 4 * trained
    assert full.gib > 5 * lora.gib
    assert lora.gib - qlora.gib == pytest.approx((2 - 0.55) * 8_030_261_248 / GIB)
    assert lora.seconds == pytest.approx(full.seconds * 2 / 3)


def test_layers_without_an_adapter_cost_a_forward_pass():
    every, top = (estimate(shape_of(LLAMA_8B), config_of(method="lora", lora={"top_layers": n})) for n in (None, 8))
    assert top.seconds == pytest.approx(every.seconds * (1 + 8 / 32) / 2)
    assert top.memory["activations"] == every.memory["activations"] / 4
    assert top.memory["optimiser"] == every.memory["optimiser"] / 4


def test_time_of_the_papers_stage_one_by_hand():
    config = config_of(examples_per_step=128, max_tokens=4096, tokens_per_batch=4096, gradient_checkpointing=True)
    found = estimate(shape_of(LLAMA_8B), config, devices=32, example_tokens=1000)
    assert found.seconds == pytest.approx(8 * 8_030_261_248 * 4096 / (312e12 * 0.4))  # 32 batches, one for each device


def test_compiled_layers_need_no_mask_of_the_whole_batch():
    masks = [estimate(shape_of(LLAMA_8B), config_of(compile=c)).memory["mask"] for c in (False, True)]
    assert masks == [4 * config_of().tokens_per_batch ** 2, 0]


def test_the_measured_memory_of_rankrag_mini_is_met():
    """24 GB on an H200 (docs/training.md), with the shape of its base."""
    base = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    config = load_config(TrainConfig, Path(__file__).parents[2] / "configs/train/mini-stage2.yaml")
    assert estimate(shape_of(base), config).gib == pytest.approx(24e9 / GIB, rel=0.1)


def test_devices_without_a_batch_save_no_time():
    times = {n: estimate(shape_of(SMALL), config_of(batches_per_step=6), devices=n).seconds for n in (1, 2, 4, 6, 128)}
    assert [round(times[1] / t) for t in times.values()] == [1, 2, 3, 6, 6]


def forward(attention, tokens=TOKENS):
    torch.manual_seed(0)
    model = LlamaForCausalLM._from_config(SMALL, attn_implementation=attention)
    mask = torch.zeros(1, 1, tokens, tokens)
    return model(input_ids=torch.zeros(1, tokens, dtype=torch.long), attention_mask=mask, use_cache=False)


def test_the_operations_are_those_of_a_measured_step():
    with FlopCounterMode(display=False) as counter:
        # few tokens, as attention is not estimated; the counter does not know the fused attention of CPUs
        forward("eager", tokens=8).logits.sum().backward()
    found = estimate(shape_of(SMALL), config_of(tokens_per_batch=TOKENS, batches_per_step=1))
    operations = found.seconds * 312e12 * 0.4 * 8 / TOKENS
    embeddings = 6 * 8 * SMALL.vocab_size * SMALL.hidden_size  # they are looked up, not multiplied
    assert operations - embeddings == pytest.approx(counter.get_total_flops(), rel=0.05)


def test_the_activations_are_about_those_that_a_measured_step_keeps():
    kept = {}

    def keep(tensor):
        if not isinstance(tensor, torch.nn.Parameter) and tensor.is_floating_point():
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = forward("sdpa")
    numbers = sum(t.untyped_storage().nbytes() for t in kept.values() if t.shape[-1] != SMALL.vocab_size) / 4
    found = estimate(shape_of(SMALL), config_of(tokens_per_batch=TOKENS))
    assert output.logits is not None
    assert found.memory["activations"] / 2 == pytest.approx(numbers, rel=0.25)


def test_the_ready_configuration_of_8b_fits_on_eight_gpus_of_80_gib():
    config = load_config(TrainConfig, Path(__file__).parents[2] / "configs/train/llama3-8b-stage2.yaml")
    assert estimate(shape_of(LLAMA_8B), config, devices=8).gib < 72


def test_gib_is_the_sum_of_the_parts():
    found = estimate(shape_of(SMALL), config_of())
    assert found.gib == pytest.approx(sum(found.memory.values()) / GIB)


def test_the_lines_are_those_of_the_model_that_a_configuration_names(tiny_model_dir):
    config = config_of(model=str(tiny_model_dir), max_steps=10)
    lines = estimate_lines(config, devices=2, tflops=100.0)
    found = estimate(shape_of(LlamaConfig.from_pretrained(tiny_model_dir)), config, devices=2, tflops=100.0)
    assert [line.split()[-2] for line in lines[-3:]] == [
        f"{found.gib:.2f}",
        f"{found.seconds:.2f}",
        f"{found.seconds / 360:.2f}",
    ]
    assert len(lines) == len(found.memory) + 3
    with pytest.raises(ConfigError, match=r"the model of .*none cannot be opened"):
        estimate_lines(config_of(model=str(tiny_model_dir / "none")))
