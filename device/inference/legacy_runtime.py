"""tflite-runtime behind the `Runtime` port: for Python up to 3.11, with numpy 1.

Its XNNPACK leaves quantized models alone, so they run many times slower than in ai-edge-litert.
"""

from importlib.metadata import version
from pathlib import Path

import numpy as np
from tflite_runtime.interpreter import Interpreter

from device.errors import ModelError
from device.inference.interpreter_network import InterpreterNetwork, load_network


class LegacyRuntime:
    """Any number of networks; each belongs to one thread."""

    name = "tflite-runtime"

    def __init__(self) -> None:
        """Raises ModelError under numpy 2, where this runtime's first inference would end the
        process."""
        if int(np.__version__.split(".", maxsplit=1)[0]) >= 2:
            raise ModelError(
                f"tflite-runtime with numpy {np.__version__}: it dies under numpy 2; "
                "use ai-edge-litert, or install 'numpy<2'"
            )
        self.version = version("tflite-runtime")

    def load(self, path: Path, threads: int) -> InterpreterNetwork:
        """Raises ModelError."""
        return load_network(
            lambda path, threads: Interpreter(model_path=str(path), num_threads=threads),
            path,
            threads,
        )
