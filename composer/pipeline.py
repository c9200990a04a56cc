"""Pipelines: a list of stages whose neighbours' types fit, from code or TOML, checked before any work."""

from __future__ import annotations

import dataclasses
import importlib
import sys
import time
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from composer.errors import Cancelled, PipelineError
from composer.records import Context, Event, Photos, Plan

__all__ = ["STAGES", "Pipeline", "find_stage", "stitching"]

STAGES = {
    "find-features": "composer.stitching.stages:FindFeatures",
    "match": "composer.stitching.stages:MatchPhotos",
    "cameras": "composer.stitching.stages:EstimateCameras",
    "level": "composer.stitching.stages:Level",
    "lay-out": "composer.stitching.stages:LayOut",
    "exposure": "composer.stitching.canvas_stages:CompensateExposure",
    "local-warp": "composer.stitching.canvas_stages:LocalWarp",
    "seams": "composer.stitching.canvas_stages:FindSeams",
    "gradient": "composer.blend.stages:BlendGradients",
    "low-bands": "composer.blend.stages:BlendLowBands",
    "multiband": "composer.blend.stages:Multiband",
    "feather": "composer.blend.stages:Feather",
    "no-blend": "composer.blend.stages:NoBlend",
    "refine.gan": "composer.learn.stages:RefineGan",
    "repair": "composer.api.stages:Repair",
    "tile": "composer.api.stages:MakeTile",
}

_PLANNING = ("find-features", "match", "cameras", "level", "lay-out", "exposure", "local-warp", "seams")


STEP = 3 / 255  # across seams, in the mean over their length: more is seen
_BLENDS = {
    "auto": ("gradient", "low-bands", "multiband"),
    "multiband": ("low-bands", "multiband"),
    "gradient": ("gradient", "low-bands", "multiband"),
    "feather": ("feather",),
    "none": ("no-blend",),
}


def find_stage(name: str, folder: Path | None = None) -> type:
    """Return a stage class by its name, its import path "package.module:Class", or its entry point.

    What is not installed is looked for in `folder`, as where a pipeline's file lies.

    Raises
    ------
    PipelineError
        There is none.
    """
    where = STAGES.get(name)
    if where is None and ":" in name:
        where = name
    if where is None:
        from importlib import metadata  # slow, and seldom needed

        found = metadata.entry_points(group="composer.stages", name=name)
        where = next((e.value for e in found), None)
    if where is None:
        raise PipelineError(f'no stage is called "{name}"; there are {", ".join(STAGES)}')
    module, _, attribute = where.partition(":")
    try:
        stage: type = getattr(_imported(module, folder), attribute)
    except (ImportError, AttributeError, SyntaxError, TypeError, ValueError) as error:
        raise PipelineError(f'stage "{name}" cannot be imported ({error})') from error
    if not dataclasses.is_dataclass(stage):
        raise PipelineError(f'"{name}" is not a stage: a stage is a dataclass')
    return stage


def _imported(module: str, folder: Path | None) -> types.ModuleType:
    """Import a module that is installed, or lies in a folder."""
    top = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if folder is None or error.name != top or not any((folder / n).exists() for n in (top, f"{top}.py")):
            raise
    sys.path.append(str(folder.absolute()))  # not at the front: it must not hide what is installed
    return importlib.import_module(module)


@dataclass(frozen=True)
class Pipeline:
    """An ordered chain of stages: plan stages from Photos to Plan, one blend, then stages on tiles.

    Or stages that each change one picture: such a chain works photo by photo, and nothing else is in it.

    Raises
    ------
    PipelineError
        When made: a stage does not fit the one before it.

    Examples
    --------
    >>> from composer.pipeline import stitching
    >>> [name for name, _ in stitching().described()][:3]
    ['find-features', 'match', 'cameras']
    """

    stages: tuple[Any, ...]

    def __post_init__(self) -> None:
        if self.single:
            for k, stage in enumerate(self.stages, 1):
                if not hasattr(stage, "edit"):
                    raise PipelineError(
                        f"stage {k} ({type(stage).__name__}) does not change single pictures as the first "
                        "does; make two pipelines of them"
                    )
            return
        expected: type | None = Photos
        blended = False
        for k, stage in enumerate(self.stages, 1):
            name = f"stage {k} ({type(stage).__name__})"
            if hasattr(stage, "takes"):
                if blended:
                    raise PipelineError(f"{name} plans, but comes after the blend; move it up")
                if stage.takes is not expected:
                    wanted = expected.__name__ if expected else "nothing"
                    raise PipelineError(
                        f"{name} takes {stage.takes.__name__}, but is given {wanted}; "
                        "check the order of the stages"
                    )
                expected = stage.gives
            elif hasattr(stage, "blend"):
                if blended:
                    raise PipelineError(f"{name} is a second blend; one is enough")
                if expected is not Plan:
                    raise PipelineError(
                        f"{name} blends a Plan, but is given {expected.__name__ if expected else 'nothing'}"
                    )
                blended = True
            elif hasattr(stage, "apply"):
                if not blended:
                    raise PipelineError(f"{name} works on blended tiles; put a blend before it")
            elif hasattr(stage, "edit"):
                raise PipelineError(f"{name} changes single pictures; run it in a pipeline of its own")
            else:
                raise PipelineError(f"{name} is not a stage: it neither plans, blends, applies nor edits")
        if not blended:
            raise PipelineError('the pipeline has no blend; end it with "multiband" or "feather"')

    @property
    def single(self) -> bool:
        """Whether it works photo by photo: its stages have `edit(picture, context)`."""
        return bool(self.stages) and hasattr(self.stages[0], "edit")

    @property
    def plan_stages(self) -> tuple[Any, ...]:
        """The stages that run on the whole scene."""
        return tuple(s for s in self.stages if hasattr(s, "takes"))

    @property
    def blend(self) -> Any:
        """The stage that makes one tile of several."""
        return next(s for s in self.stages if hasattr(s, "blend"))

    @property
    def tile_stages(self) -> tuple[Any, ...]:
        """The stages on blended tiles."""
        return tuple(s for s in self.stages if hasattr(s, "apply"))

    @property
    def own_files(self) -> tuple[Path, ...]:
        """The files of stages that do not come with composer."""
        modules = {type(s).__module__ for s in self.stages} - {w.partition(":")[0] for w in STAGES.values()}
        found = (getattr(sys.modules[m], "__file__", None) for m in sorted(modules))
        return tuple(Path(f) for f in found if f is not None)

    @classmethod
    def from_toml(cls, path: Path | str) -> Pipeline:
        """Read a pipeline: a [[stage]] table each, `use` its name, the rest its options.

        Raises
        ------
        PipelineError
            Not TOML, an unknown stage or option, a value of the wrong type.
        """
        try:
            with Path(path).open("rb") as file:
                about = tomllib.load(file)
        except FileNotFoundError:
            raise PipelineError(f"{path}: no such file; check the name") from None
        except OSError as error:
            raise PipelineError(f"{path}: cannot be read ({error.strerror}); give a TOML file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise PipelineError(f"{path}: not TOML ({error})") from error
        tables = about.pop("stage", None)
        if about or not isinstance(tables, list) or not tables:
            raise PipelineError(f"{path}: give a list of [[stage]] tables and nothing else")
        return cls(tuple(_made(dict(t), str(path), Path(path).parent) for t in tables))

    def to_toml(self) -> str:
        """Return the pipeline as TOML with every option written out."""
        tables = []
        for name, options in self.described():
            lines = [f'use = "{name}"', *(f"{k} = {_toml(v)}" for k, v in options.items() if v is not None)]
            tables.append("\n".join(["[[stage]]", *lines]))
        return "\n\n".join(tables) + "\n"

    def described(self) -> list[tuple[str, dict[str, Any]]]:
        """Return each stage's name and options."""
        names = {where: name for name, where in STAGES.items()}
        found = []
        for stage in self.stages:
            where = f"{type(stage).__module__}:{type(stage).__qualname__}"
            options = {f.name: getattr(stage, f.name) for f in dataclasses.fields(stage)}
            found.append((names.get(where, where), options))
        return found

    def with_options(self, settings: Mapping[str, str]) -> Pipeline:
        """Return the pipeline with options set from text, keys "stage.option".

        Raises
        ------
        PipelineError
        """
        stages = list(self.stages)
        names = [name for name, _ in self.described()]
        for key, text in settings.items():
            name, _, option = key.rpartition(".")  # names may have dots: refine.gan
            if name not in names:
                raise PipelineError(f'"{key}": the pipeline has no stage "{name}"; it has {", ".join(names)}')
            k = names.index(name)
            try:
                value = tomllib.loads(f"v = {text}")["v"]
            except tomllib.TOMLDecodeError:
                value = text
            options = {f.name: getattr(stages[k], f.name) for f in dataclasses.fields(stages[k])}
            stages[k] = _made({"use": name, **options, option: value}, "--set")
        return Pipeline(tuple(stages))

    def plan(self, value: Any, context: Context, start: str | None = None) -> Plan:
        """Run the plan stages on photos, or from the first that takes a plan on; or those from `start` on.

        Raises
        ------
        NothingToStitch
        Cancelled
        """
        names = [name for name, _ in self.described()]
        stages = list(zip(names, self.plan_stages, strict=False))
        first = (
            k for k, (n, s) in enumerate(stages) if (n == start if start else isinstance(value, s.takes))
        )
        for name, stage in stages[next(first, len(stages)) :]:
            if context.cancelled():
                raise Cancelled("stopped on request; nothing was written")
            started = time.perf_counter()
            value = stage(value, context)
            context.observe(Event(name, 1.0, time.perf_counter() - started, value=value))
        assert isinstance(value, Plan)
        return value


def _made(table: dict[str, Any], source: str, folder: Path | None = None) -> Any:
    """Make a stage from its table, its options checked; stages of one's own may lie in `folder`."""
    name = table.pop("use", None)
    if not isinstance(name, str):
        raise PipelineError(f'{source}: a [[stage]] needs use = "name"')
    kind = find_stage(name, folder)
    hints = typing.get_type_hints(kind)
    known = [f.name for f in dataclasses.fields(kind)]
    for option, value in table.items():
        if option not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise PipelineError(f'{source}: stage "{name}" has no option "{option}"; {has}')
        table[option] = _checked(f"{name}.{option}", value, hints[option])
    return kind(**table)


def _checked(option: str, value: Any, hint: Any) -> Any:
    """Return a value of the type an option declares.

    Raises
    ------
    PipelineError
    """
    if typing.get_origin(hint) is typing.Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise PipelineError(f'{option} is "{value}"; give one of {", ".join(map(str, choices))}')
        return value
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        if value is None:
            return None
        (hint,) = (h for h in typing.get_args(hint) if h is not type(None))  # optional, no other unions
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise PipelineError(f"{option} is {value!r}; give a value of type {hint.__name__}")
    return value


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


def stitching(
    blend: str = "auto", options: Mapping[str, Mapping[str, Any]] | None = None, refine: bool = False
) -> Pipeline:
    """Return the pipeline that `stitch` runs.

    Parameters
    ----------
    blend : "auto", "multiband", "gradient", "feather" or "none"
        "auto" is "gradient" where photos exposed apart meet with a step, else "multiband".
    options : mapping or None
        By a stage's name, those of its options that are not to be the default.
    refine : bool
        Whether the learned refiner looks along the seams at last.

    Raises
    ------
    PipelineError
        An option is unknown or has a value of the wrong type.
    """
    names = [*_PLANNING, *_BLENDS[blend], *(["refine.gan"] if refine else [])]
    wanted = {**({"gradient": {"least": STEP}} if blend == "auto" else {}), **(options or {})}
    return Pipeline(tuple(_made({"use": n, **wanted.get(n, {})}, "stitch") for n in names))
