from credit.registry import Registry

registry = Registry("credit.nets", "net", parts=("conv", "dense"))
