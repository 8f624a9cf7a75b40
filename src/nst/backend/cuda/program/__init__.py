"""Whole nets on the GPU: compiled once per set of shapes into a list of launches, and run as one.

places.py        where values lie: buffers of the arena, arrays of their own, the blobs' own memory
tape.py          the launches in order, who touches which buffer, and where in the arena each buffer goes
values.py        values as maps (NHWC) or planes, the gates of ReLUs, the terms of a gradient
builder.py       puts kernels on the tape
compiler.py      the values of the forward pass; sums of gradients, made where they are needed
operations.py    walks the layers; what each puts on the tape is in convolutions.py (with weights.py),
                 rectifiers.py, features.py, channels.py, borders.py, gates.py, moments.py,
                 regions.py, losses.py, wasserstein.py (with inverse_roots.py) and foreign.py
scaling.py       powers of two that keep fp16 in its range
run.py           one compilation bound to memory: launches, recording, what the blobs show
program.py       the compiled net: calibration, losses
"""
