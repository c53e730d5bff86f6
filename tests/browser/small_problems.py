"""One exercise, for the small notebook that tries out the machinery."""

from cprec_lib.course.exercises import Problem, Slip


def receptive_field(kernel_size, dilations):
    """How many positions one output sees."""
    field = 1
    for dilation in dilations:
        field += (kernel_size - 1) * dilation
    return field


def without_itself(kernel_size, dilations):
    return sum((kernel_size - 1) * dilation for dilation in dilations)


field = Problem(
    title="Receptive field",
    task="Count the positions that one output sees.",
    minutes=3,
    difficulty="easy",
    purpose="Tells how far back a layer looks.",
    answer=receptive_field,
    slips=(Slip(without_itself, "The position itself is missing."),),
    hints=("Start at 1.", "Every layer adds to it."),
    cases=((3, (1, 4)),),
)
