"""transformers' question-answering pipeline behind FastAPI: what `load.py` measures beside `spanqa serve`.

    python benches/serving/peer.py --model models/builtin --port 8000

The packed weights of the built-in model are spread out to f32 first, so both servers have the same numbers. One request is computed at a
time, as Hugging Face's inference toolkit does, with all cores; others wait without a limit.
"""

import argparse
import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import uvicorn
from fastapi import FastAPI, Request
from safetensors.torch import load_file
from transformers import BertConfig, BertForQuestionAnswering, BertTokenizerFast, QuestionAnsweringPipeline


def unpacked(folder):
    """8-bit matrices times the scale of each row; everything else as it is."""
    packed = load_file(folder / "model.safetensors")
    scale = lambda name: packed[f"{name}.scale"].float().unsqueeze(1)
    return {
        name: tensor.float() * scale(name) if tensor.dtype == torch.int8 else tensor.float()
        for name, tensor in packed.items()
        if not name.endswith(".scale")
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, default=8000)
    args = parser.parse_args()
    torch.set_num_threads(os.cpu_count())
    config = BertConfig(**json.loads((args.model / "config.json").read_text()) | {"torch_dtype": "float32"})
    model = BertForQuestionAnswering(config)
    missing, unexpected = model.load_state_dict(unpacked(args.model), strict=False)
    assert not unexpected and all("position_ids" in name for name in missing), (missing, unexpected)
    tokenizer = BertTokenizerFast(vocab_file=str(args.model / "vocab.txt"), do_lower_case=True)
    pipeline = QuestionAnsweringPipeline(model=model.eval(), tokenizer=tokenizer, device=torch.device("cpu"))
    worker, app = ThreadPoolExecutor(1), FastAPI()

    def answer(inputs):
        with torch.inference_mode():
            return pipeline(**inputs)

    @app.post("/predict")
    async def predict(request: Request):
        inputs = (await request.json())["inputs"]
        return await asyncio.get_running_loop().run_in_executor(worker, answer, inputs)

    @app.get("/ready")
    async def ready():
        return "Ok"

    uvicorn.run(app, port=args.port, log_level="error", access_log=False)


if __name__ == "__main__":
    main()
