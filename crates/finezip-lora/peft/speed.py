#!/usr/bin/env python3
"""Tokens a second of LoRA training with PyTorch and PEFT, to set beside finezip-finetune.

    python3 -m venv venv && venv/bin/pip install torch transformers peft gguf
    venv/bin/python crates/finezip-lora/peft/speed.py MODEL.gguf --batch 2 --length 512

The model is read from the same GGUF file (transformers makes its weights dense); rank, targets,
optimizer, clipping and the size of a step are finezip-finetune's. Prints each step's seconds, then
the median tokens/s and the peak memory of the process.
"""

import argparse
import os
import resource
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    arguments = parser.parse_args()

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    folder, file = os.path.split(arguments.model)
    model = AutoModelForCausalLM.from_pretrained(
        folder or ".",
        gguf_file=file,
        dtype=torch.bfloat16 if arguments.bf16 else torch.float32,
    )
    settings = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules=LINEARS)
    model = get_peft_model(model, settings)
    model.config.use_cache = False
    if arguments.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    generator = torch.Generator().manual_seed(1)
    seconds = []
    for _ in range(arguments.steps):
        shape = (arguments.batch, arguments.length)
        tokens = torch.randint(0, model.config.vocab_size, shape, generator=generator)
        begun = time.perf_counter()
        model(input_ids=tokens, labels=tokens).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - begun)
        print(f"{seconds[-1]:.3f} s", flush=True)
    median = sorted(seconds)[len(seconds) // 2]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    tokens_per_second = arguments.batch * arguments.length / median
    print(f"median {tokens_per_second:.0f} tokens/s, peak memory {peak} bytes")


if __name__ == "__main__":
    main()
