"""Serve an exported model with numpy and onnxruntime, without torch: `serve.load(folder)`."""

from cprec_lib.serve.model import Model as Model
from cprec_lib.serve.model import load as load
from cprec_lib.serve.stream import Stream as Stream
