"""The GPU engine: CuPy's arrays, cuDNN's graph API, cuBLAS and kernels of our own.

kernels.py      CUDA C in native/, compiled on first use
"""
