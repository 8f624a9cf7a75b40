"""The GPU engine: CuPy's arrays, cuDNN's graph API, cuBLAS and kernels of our own.

library.py      what has to be installed, found when first asked for; failures by their cause
cudnn.py        the five functions of cuDNN's graph API; numbers.py holds their constants
graphs.py       a convolution as a graph of operations
plans.py        which engine runs a graph: candidates, filters, timing; plan_cache.py keeps the choice
cublas.py       matrix products on a handle of our own
kernels.py      CUDA C in native/, compiled on first use
storage.py      how values are kept in memory
device.py       what the rest asks of a GPU; cuda_device.py is one, tests have a stand-in
backend.py      CudaBackend, one operation at a time; vectors.py its inner products and steps of solvers
program/        whole nets as one list of launches

It has not run on a GPU yet: everything that a processor can check is checked there (tests/backend/cuda).
"""
