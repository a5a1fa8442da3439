from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from rankrag.config.schema import load_config
from rankrag.config.training import TrainConfig
from rankrag.errors import ConfigError
from rankrag.training.estimate import GIB, Shape, estimate, estimate_lines, report_lines
from rankrag.training.estimate import shape_of as shape_of_model

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


def shape_of(config) -> Shape:
    """Read the sizes off a model without weights."""
    with torch.device("meta"):
        return shape_of_model(AutoModelForCausalLM.from_config(config))


def config_of(**fields):
    whole = {"model": "m", "blend": "b", "out": "o", "method": "full", "compile": False}
    return TrainConfig.model_validate(whole | fields)


def test_the_sizes_of_llama_3_8b_are_read_off_its_configuration():
    shape = shape_of(LLAMA_8B)
    assert shape.weights == 8_030_261_248
    attention, mlp = 2 * 4096**2 + 2 * 4096 * 1024, 3 * 4096 * 14336
    assert shape.matrices == 32 * (attention + mlp)


def test_memory_of_a_full_run_in_shards_by_hand():
    found = estimate(shape_of(LLAMA_8B), config_of(sharding="fsdp2", tokens_per_batch=4096), devices=8)
    assert found.memory["weights"] + found.memory["gradients"] + found.memory["optimiser"] == 2 * 8_030_261_248
    layer, rest = 218_103_808, 8_030_261_248 - 32 * 218_103_808
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
    assert lora.operations == pytest.approx(full.operations * 2 / 3)


def test_layers_without_an_adapter_cost_a_forward_pass():
    every, top = (estimate(shape_of(LLAMA_8B), config_of(method="lora", lora={"top_layers": n})) for n in (None, 8))
    assert top.operations == pytest.approx(every.operations * (1 + 8 / 32) / 2)
    assert top.memory["activations"] == every.memory["activations"] / 4
    assert top.memory["optimiser"] == every.memory["optimiser"] / 4


def test_time_of_the_papers_stage_one_by_hand():
    config = config_of(examples_per_step=128, max_tokens=4096, tokens_per_batch=4096, gradient_checkpointing=True)
    found = estimate(shape_of(LLAMA_8B), config, devices=32, example_tokens=1000, target_share=0)
    token = 4 * (2 * 32 * 218_103_808 + 4 * 32 * 4096 * 4096)
    assert found.operations == token * 128_000
    assert found.seconds == pytest.approx(token * 4096 / (312e12 * 0.4))  # 32 batches, one for each device
    assert report_lines(found, 1000)[-1].split() == ["1000", "steps", f"{found.seconds / 3.6:.2f}", "h"]


def test_attention_in_blocks_costs_what_a_token_sees_and_has_no_mask_of_the_whole_batch():
    dense, blocks = (
        estimate(shape_of(LLAMA_8B), config_of(tokens_per_batch=24576, compile=c), example_tokens=512, target_share=0)
        for c in (False, True)
    )
    assert dense.memory["mask"] == 4 * 24576**2
    assert blocks.memory["mask"] == 16 * (24576 / 128) ** 2
    seen = 512 / 2 + 128 / 2
    assert blocks.operations == 3 * 24576 * (2 * 32 * 218_103_808 + 4 * 32 * 4096 * seen)
    assert dense.operations == 3 * 24576 * (2 * 32 * 218_103_808 + 4 * 32 * 4096 * 24576)


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


def forward(attention):
    torch.manual_seed(0)
    model = LlamaForCausalLM._from_config(SMALL, attn_implementation=attention)
    mask = torch.zeros(1, 1, TOKENS, TOKENS)
    return model(input_ids=torch.zeros(1, TOKENS, dtype=torch.long), attention_mask=mask, use_cache=False)


def test_the_operations_are_those_of_a_measured_step():
    with FlopCounterMode(display=False) as counter:
        forward("eager").logits.sum().backward()  # the counter does not know the fused attention of CPUs
    found = estimate(shape_of(SMALL), config_of(tokens_per_batch=TOKENS), target_share=1.0)
    assert found.operations == pytest.approx(counter.get_total_flops(), rel=0.05)


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
    shape = shape_of(LlamaConfig.from_pretrained(tiny_model_dir))
    assert lines == report_lines(estimate(shape, config, devices=2, tflops=100.0), 10)
    with pytest.raises(ConfigError, match=r"the model of .*none cannot be opened"):
        estimate_lines(config_of(model=str(tiny_model_dir / "none")))
