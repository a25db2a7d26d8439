"""The clinic: small trainings with one planted mistake each."""

from compare.clinic import (
    data_content,
    data_order,
    gradient,
    mode,
    precision,
    schedule,
    start,
    trainer,
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
        gradient,
        update,
        schedule,
        precision,
        trainer,
    )
    for thing in vars(module).values()
    if isinstance(thing, Case)
}
