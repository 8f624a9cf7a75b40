"""The help of the flags that are made from fields, by field, in the order in which --help shows them."""

from __future__ import annotations

from nst.proto import StyleTransferParameter

OBJECTIVE = {
    "preset": "named set of values for all that follows; `nst presets` prints them",
    "content_weight": "factor on all content terms",
    "style_weight": "factor on all style terms",
    "tv_weight": "factor on total variation, which smooths; 0 leaves it out",
    "content_loss": "form of the content terms",
    "style_loss": "form of the style terms",
    "content_scale": "value of the SCALAR layers before content losses",
    "gram_normalize": "what Gram matrices are divided by: channels, height, width",
    "gram_scale": "factor on Gram matrices",
    "style_statistic": "what of a style layer's features is compared",
    "mmd_offset": "constant of the kernel of mmd_polynomial",
    "padding": "what the first convolution sees beyond the picture's edge; zeros if left out",
    "pad_every_layer": "--padding at all convolutions, not only at the first",
    "style_margin": "places along the edges of style layers that their statistics leave out",
    "gate": "which gradients pass the EVENT layers",
    "exact_gradient": "off: MyCaffe's gradients, which leave the scales out",
    "pooling": "replaces the net's pooling",
}
RESULT = {
    "size": "longest side in pixels, or without a content width x height; replaces a list of sizes",
    "coarsest_size": "coarse to fine: begin at this size, and end at --size",
    "sizes": "coarse to fine: longest sides, small first, as in 128,256,512",
    "output": "the picture to write: png, jpg, tiff or webp",
    "aspect": "width and height, as in 16,9, of a picture without content; default the style's",
    "save_every": "iterations between intermediate pictures; 0 writes none",
    "snapshot": "iterations between snapshots to --resume from; default every 5 minutes, 0 never",
    "snapshot_prefix": "snapshots go to this path with .snapshot added; default beside the output",
    "average_iterates": "the result is the mean of the last N iterates; 0 takes the last",
    "average_decay": "the result is a mean of all iterates, each weighing X times the next; 0 is off",
    "color": "whose colours the result has",
    "precision": "of the features: cuda takes all four, cpu fp32 and, where the processor has it, bf16; "
    "left out, the backend chooses",
    "report_gradients": "measure each term's share of the gradient at the end of each size",
    "clamp": "keep every pixel inside what a picture can show",
}
SOLVER = {
    "type": "update rule: LBFGS, Adam, SGD, Nesterov, AdaGrad, RMSProp or AdaDelta",
    "base_lr": "learning rate; for LBFGS the first step length",
    "lr_policy": "how the rate changes: fixed, step, exp, inv, multistep, poly or sigmoid",
    "gamma": "factor or steepness of the policy",
    "power": "exponent of the policy",
    "stepsize": "iterations between drops of the policies step and sigmoid",
    "stepvalue": "iterations at which the policy multistep drops the rate",
    "momentum": "share of the last step; Adam's beta1, AdaDelta's decay",
    "momentum2": "Adam's beta2",
    "rms_decay": "share of the past in RMSProp's mean square",
    "delta": "keeps divisors from zero in Adam, AdaGrad, RMSProp, AdaDelta",
    "clip_gradients": "largest L2 norm of the gradient; below 0 is no limit",
    "lbfgs_corrections": "pairs of vectors that LBFGS remembers",
    "line_search": "how LBFGS finds its step lengths",
    "carry_moments": "Adam and its like begin each size with the moments of the one before",
    "average_loss": "iterations over which the logged loss is averaged",
    "display": "iterations between lines of progress when output is not a terminal; 0 is silent",
}
TOTAL_VARIATION = {
    "beta": "exponent of total variation: 2 smooth, 1 keeps edges",
    "epsilon": "added under that exponent's root",
    "form": "which differences total variation counts",
}
VIDEO = {
    "frames": "paint these frames one after the other: a folder, a pattern, or an animated GIF, WebP or "
    "APNG. --output is then a folder, or an animation: .gif, .webp, .apng",
    "temporal_weight": "how firmly a frame is held to the one before; 0 lets it go",
    "temporal_distances": "how many frames back it is held to, as in 1,2,4; default 1",
    "flow": "where the motion between frames comes from",
    "flow_files": "folder of backward_I_J.flo and forward_J_I.flo (or .npy)",
    "frame_iterations": "of every frame after the first, at each size",
    "fps": "frames a second of an animation, if the source does not tell",
}
"""Fields of the video block by flag; `video_field` is the field of a flag."""

SPREAD = (
    "video",
    "content",
    "style",
    "init",
    "tv_loss_param",
    "transform_param",
    "iterations",
    "color_order",
    "keep_mask",
)
"""Fields of the style block that have flags of their own making."""


def video_field(flag: str) -> str:
    """The field of VideoParameter that a flag of VIDEO sets."""
    return {"temporal_distances": "distances", "frame_iterations": "iterations"}.get(flag, flag)


def objective_fields() -> dict[str, str]:
    """Help by field; a plain field of the style block that no table has gets its flag all the same."""
    known = {*OBJECTIVE, *RESULT, *SOLVER, *SPREAD}
    others = [field.name for field in StyleTransferParameter.DESCRIPTOR.fields]
    return {**OBJECTIVE, **{name: "see docs/prototxt.md" for name in others if name not in known}}
