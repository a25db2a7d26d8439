"""The mean of the weights over the last epochs, for torch's AveragedModel."""

from collections.abc import Callable

from torch import Tensor

AvgFn = Callable[[Tensor, Tensor, Tensor | int], Tensor]


def get_mean_avg_fn(first: int) -> AvgFn:
    """Return an `avg_fn`: the weights as they are, and from update `first` on the mean.

    torch's own get_swa_avg_fn is the mean over all updates. Who begins it later begins
    to update later, and until then an AveragedModel holds the weights of the start.

    Args:
        first: the first update that counts, from 1.
    """

    def average(averaged: Tensor, current: Tensor, n_averaged: Tensor | int) -> Tensor:
        if n_averaged < first:
            return current
        return averaged + (current - averaged) / (n_averaged - first + 2)

    return average
