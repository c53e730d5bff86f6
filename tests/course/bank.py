"""A small bank of exercises for the tests of the workbook and of the teacher's page."""

from cprec_lib.course.exercises import Problem, Slip


def double(number):
    return 2 * number


class Doubler:
    """Doubles."""

    def of(self, number):
        return 2 * number


DOUBLE = Problem(
    title="Twice a number",
    task="""Write `double(number)`.

    It returns twice the number.""",
    minutes=5,
    difficulty="easy",
    purpose="To know how this works.",
    answer=double,
    slips=(
        Slip(lambda number: number + 2, "That adds two."),
        Slip(lambda number: (number,) * 2, "That repeats."),
        Slip(abs, "No sign."),
    ),
    hints=("Two of them.", "Multiply."),
    cases=((3,), (-1,)),
    why="Doubling is multiplying by two.",
)
ANSWER = Problem(
    title="The answer",
    task="What is it?",
    minutes=12,
    difficulty="hard",
    purpose="To have a value.",
    answer=42,
    slips=(Slip(41, "One more."), Slip(Doubler, "That is a class.")),
    hints=("A number.",),
)
BANK = {"00_first": {"double": DOUBLE, "answer": ANSWER}, "01_second": {"answer": ANSWER}}
