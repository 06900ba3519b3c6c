"""Finds drivers by name: modules of this package, and entry points of others.

A driver's name is its module's name here, or the entry point's name in the group
`fusion_rt.drivers`, which points at a module that declares `DRIVERS` as ours do. Nothing is
imported until a rig names it, or somebody asks for the list. A node finds its driver here each time
it is restarted, so what only errors and other packages' drivers need is imported where it is used.
"""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping

import msgspec

from fusion_rt import drivers
from fusion_rt.drivers.port import KIND_OPTIONS, Driver, SensorOptions
from fusion_rt.errors import DriverError
from fusion_rt.topics import sensor_kinds

ENTRY_POINTS = "fusion_rt.drivers"
_NOT_DRIVERS = {"port", "registry"}


class DriverListing(msgspec.Struct, frozen=True):
    """A driver that could be named in a rig, whether or not it loads here."""

    name: str
    module: str
    kinds: tuple[str, ...] = ()
    problem: str = ""
    """Why it does not load; empty when it does."""


def find_driver(name: str, kind: str) -> Driver:
    """The driver called `name` for topics of `kind`; raises DriverError with the way out."""
    module = _our_modules().get(name) or _their_modules().get(name)
    if module is None:
        problem = f"expected a driver of {kind}, found none of that name"
        raise DriverError(name, problem, _known(name, _names_for(kind)))
    served = load_drivers(name, module)
    if kind not in served:
        problem = f"expected a driver of {kind}, it serves {', '.join(served)}"
        raise DriverError(name, problem, _known(name, _names_for(kind)))
    return served[kind]


def list_drivers() -> tuple[DriverListing, ...]:
    """Every driver there is, with the reason where one does not load. Imports them all."""
    return tuple(_listing(name, module) for name, module in sorted(driver_modules().items()))


def driver_modules() -> dict[str, str]:
    """Name of each driver -> module that declares it, without importing any; ours come first."""
    return _their_modules() | _our_modules()


def load_drivers(name: str, module: str) -> Mapping[str, Driver]:
    """What `module` declares, one driver per kind; raises DriverError when it does not load."""
    try:
        declared = getattr(importlib.import_module(module), "DRIVERS", None)
    except ImportError as error:
        raise DriverError(name, f"does not load: {error}") from error
    if not isinstance(declared, Mapping) or not declared:
        raise DriverError(name, f"expected DRIVERS in {module}, one Driver per kind of topic")
    for kind, driver in declared.items():
        _check_declared(name, kind, driver)
    return declared


def _our_modules() -> dict[str, str]:
    return {
        module.name: f"{drivers.__name__}.{module.name}"
        for module in pkgutil.iter_modules(drivers.__path__)
        if module.name not in _NOT_DRIVERS
    }


def _their_modules() -> dict[str, str]:
    from importlib import metadata

    return {entry.name: entry.value for entry in metadata.entry_points(group=ENTRY_POINTS)}


def _known(name: str, names: Iterable[str]) -> str:
    from fusion_rt.config import known_names

    return known_names(name, names)


def _check_declared(name: str, kind: str, driver: object) -> None:
    if kind not in sensor_kinds():
        way_out = _known(kind, sensor_kinds())
        raise DriverError(name, f'expected DRIVERS by kind of sensor, got "{kind}"', way_out)
    base = KIND_OPTIONS.get(kind, SensorOptions)
    if not isinstance(driver, Driver) or not issubclass(driver.options, base):
        problem = f"expected a Driver for {kind} whose options extend {base.__name__}"
        raise DriverError(name, f"{problem}, got {driver!r}")


def _listing(name: str, module: str) -> DriverListing:
    try:
        return DriverListing(name, module, tuple(load_drivers(name, module)))
    except DriverError as error:
        return DriverListing(name, module, problem=error.problem)


def _names_for(kind: str) -> list[str]:
    """Drivers of a kind, and those that cannot say because they do not load."""
    return [one.name for one in list_drivers() if kind in one.kinds or one.problem]
