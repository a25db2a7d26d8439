"""The clinic: small trainings with one planted mistake each."""

from compare.clinic import (
    data_content,
    data_order,
    gradient,
    loss,
    mode,
    precision,
    schedule,
    start,
    trainer,
    two_optimizers,
    update,
)
from compare.clinic.case import Case

CASES = {
    thing.name: thing
    for module in (
        data_order,
        data_content,
        mode,
        start,
        loss,
        gradient,
        update,
        schedule,
        precision,
        two_optimizers,
        trainer,
    )
    for thing in vars(module).values()
    if isinstance(thing, Case)
}
