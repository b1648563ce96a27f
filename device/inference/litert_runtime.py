"""ai-edge-litert behind the `Runtime` port: the default everywhere.

Its XNNPACK takes quantized models too, which makes it many times faster than tflite-runtime.
"""

from importlib.metadata import version
from pathlib import Path

from ai_edge_litert.interpreter import Interpreter

from device.inference.interpreter_network import InterpreterNetwork, load_network


class LitertRuntime:
    """Any number of networks; each belongs to one thread."""

    name = "ai-edge-litert"

    def __init__(self) -> None:
        self.version = version("ai-edge-litert")

    def load(self, path: Path, threads: int) -> InterpreterNetwork:
        """Raises ModelError."""
        return load_network(
            lambda path, threads: Interpreter(model_path=str(path), num_threads=threads),
            path,
            threads,
        )
