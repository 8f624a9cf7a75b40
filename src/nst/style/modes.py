"""What a run is by the pictures that are there.

content and style    style transfer, from the content
style alone          a texture, from noise with the colours of the style
content alone        the content painted anew from its features, from noise
"""

from __future__ import annotations

from dataclasses import replace

from nst.errors import UsageError
from nst.proto import InitialImage, SolverParameter
from nst.style.job_pictures import JobPictures
from nst.style.objective import Objective


def with_present_terms(objective: Objective, pictures: JobPictures) -> Objective:
    """The objective without the terms of pictures that are not there.

    Raises UsageError if neither content nor style has a weight left.
    """
    objective = replace(
        objective,
        content=() if pictures.content is None else objective.content,
        style=objective.style if pictures.styles else (),
    )
    if not objective.content and not objective.style:
        kind = "content" if pictures.content is not None else "style"
        raise UsageError(
            f"{kind}_weight: nothing to paint (got 0, and a {kind} picture alone; expected above 0)"
        )
    return objective


def with_start(settings: SolverParameter, pictures: JobPictures) -> SolverParameter:
    """The settings with `init` set to what fits the pictures, where they leave it open."""
    result = SolverParameter()
    result.CopyFrom(settings)
    init = result.style_transfer_param.init
    if not init.HasField("from"):
        start = InitialImage.STYLE_STATISTICS
        if pictures.content is not None:
            start = InitialImage.CONTENT if pictures.styles else InitialImage.NOISE
        setattr(init, "from", start)
    return result
