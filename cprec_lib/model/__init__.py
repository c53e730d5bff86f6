"""The model: its parts, its search for the top k, and what it costs."""

import torch

# The first call of each of these looks for its kernel. If several threads make it at once, one of
# them can take a kernel with errors of 1e-4 (github.com/pytorch/pytorch/issues/188792).
torch.ones(1).exp().log().log2().sqrt().tanh().sigmoid()
