"""Serve an exported model with numpy and onnxruntime, without torch: `serve.load(folder)`.

Set OPENBLAS_NUM_THREADS=1 before numpy is imported, as `cprec serve` does. The products of a
rounded table are many and small, and beside a busy program each would wait for a second thread.
"""

from cprec_lib.serve.model import Model as Model
from cprec_lib.serve.model import load as load
from cprec_lib.serve.stream import Stream as Stream
