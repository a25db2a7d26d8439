"""Names for the tensors an optimizer steps, found without being told the model."""

import gc

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer


def named_tensors(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Name what the optimizer steps, and the statistics its norm layers keep.

    The names are those of `named_parameters()` of the module that holds most of them,
    searched among all modules alive: a Trainer never calls its LightningModule, so no
    hook would see it. A parameter no module holds is called "parameter3" and the like.

    Returns:
        The parameters in the optimizer's order, and the running means and variances
        of the normalization layers whose weights are among them.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    wanted = {id(p) for p in parameters}
    names: dict[int, str] = {}
    statistics: dict[str, Tensor] = {}
    for root in _roots(wanted):
        for name, parameter in root.named_parameters():
            if id(parameter) in wanted:
                names.setdefault(id(parameter), name)
        for name, module in root.named_modules():
            if isinstance(module, _NormBase) and id(module.weight) in wanted:
                for key in ("running_mean", "running_var"):
                    if (value := getattr(module, key)) is not None:
                        statistics.setdefault(f"{name}.{key}".lstrip("."), value)
    named: dict[str, Tensor] = {}
    for position, parameter in enumerate(parameters):
        name = names.get(id(parameter), f"parameter{position}")
        while name in named:  # two models of the same kind
            name += "'"
        named[name] = parameter
    return named, statistics


def _roots(wanted: set[int]) -> list[nn.Module]:
    """Modules inside no other that hold a wanted parameter, the fullest first."""
    modules = [o for o in gc.get_objects() if issubclass(type(o), nn.Module)]
    inner = {id(child) for module in modules for child in module._modules.values()}
    holds = {
        id(root): sum(id(p) in wanted for p in root.parameters())
        for root in modules
        if id(root) not in inner
    }
    roots = [module for module in modules if holds.get(id(module))]
    return sorted(roots, key=lambda root: -holds[id(root)])
