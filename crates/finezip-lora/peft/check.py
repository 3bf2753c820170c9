#!/usr/bin/env python3
"""Holds finezip-lora's adapters against Python's PEFT.

Needs torch, transformers and peft from PyPI, and a Rust toolchain:

    python3 -m venv venv && venv/bin/pip install torch transformers peft
    venv/bin/python crates/finezip-lora/peft/check.py

A small Llama model with grouped queries is written as a safetensors folder. For several LoRA
settings PEFT makes an adapter with random matrices; then
  1. finezip-lora reads PEFT's adapter, and its logits must be PEFT's;
  2. finezip-lora writes the adapter anew, and PEFT must read it, find every key, and give the
     same logits to the last bit.
Ends with status 1 where something differs.
"""

import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

# The largest difference of logits that f32 in another order of operations explains.
TOLERANCE = 2e-4
TOKENS = [0, 17, 250, 99, 3, 42, 42, 7, 128, 255, 61, 5]

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]
CASES = {
    "all linears": dict(r=8, lora_alpha=16, target_modules=ATTENTION + MLP),
    "attention, rank-stabilised": dict(
        r=4, lora_alpha=12, use_rslora=True, target_modules=ATTENTION
    ),
    "two linears, rank 3": dict(r=3, lora_alpha=5, target_modules=["v_proj", "up_proj"]),
}


def example(name: str, *arguments: object) -> str:
    command = ["cargo", "run", "--quiet", "--release", "-p", "finezip-lora", "--example", name]
    command += ["--", *map(str, arguments)]
    repository = Path(__file__).resolve().parents[3]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=repository).stdout


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([TOKENS])).logits[0]


def check(folder: Path, name: str, settings: dict) -> bool:
    base = folder / "base"
    made, written = folder / f"{name} by PEFT", folder / f"{name} by finezip"
    model = get_peft_model(
        LlamaForCausalLM.from_pretrained(base), LoraConfig(task_type="CAUSAL_LM", **settings)
    )
    for parameter_name, parameter in model.named_parameters():
        if "lora_" in parameter_name:
            torch.nn.init.normal_(parameter, std=0.2)
    model.eval()
    expected = logits(model)
    model.save_pretrained(made)

    rows = example("logits", base, made, *TOKENS).splitlines()
    found = torch.tensor([[float(value) for value in row.split()] for row in rows])
    difference = (found - expected).abs().max().item()
    moved = (expected - logits(LlamaForCausalLM.from_pretrained(base))).abs().max().item()

    example("resave", made, written)
    with warnings.catch_warnings():
        # PEFT warns of keys that are missing; that is a failure here.
        warnings.simplefilter("error", UserWarning)
        again = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(base), written)
    again.eval()
    equal = torch.equal(logits(again), expected)
    right = difference < TOLERANCE and equal and moved > 100 * TOLERANCE
    print(
        f"{'ok' if right else 'WRONG'}: {name}: largest difference of logits {difference:.1e} "
        f"(the adapter moves them by {moved:.1e}); PEFT reads what finezip-lora writes: {equal}"
    )
    return right


def main() -> int:
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=282,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        rope_theta=10000.0,
    )
    with tempfile.TemporaryDirectory() as folder:
        model = LlamaForCausalLM(config)
        for name, parameter in model.named_parameters():
            # Larger than transformers draws them, so that every part of the model counts.
            if "norm" not in name:
                torch.nn.init.normal_(parameter, std=0.15)
        model.save_pretrained(Path(folder) / "base")
        results = [check(Path(folder), name, case) for name, case in CASES.items()]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
