"""Settings of both programs: read from YAML and KEY=VALUE words, checked as a whole, described in words.

OmegaConf only reads (PyYAML would take `1e-4` for text); pydantic holds the types and refuses unknown keys.
"""

import difflib
import json
import re
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from shards.errors import SettingsError, UsageError, first_line

Record = TypeVar("Record", bound="Section")

CONFIG_FILE = "config.yaml"
"""A run's settings, in its folder."""


class Section(BaseModel):
    """A record of settings: unknown keys are refused, types are not converted, nothing changes later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())

    def contradictions(self) -> Iterator[str]:
        """Yield what no single field can know: settings that do not fit each other."""
        yield from ()


def setting(default: Any, meaning: str, **marks: Any) -> Any:
    """A field of a `Section`; help, messages and docs show its meaning, which names the unit."""
    return Field(default, description=meaning, json_schema_extra=marks or None)


@dataclass(frozen=True)
class Setting:
    """What a key means.

    Attributes:
        key: dotted, as files and words give it.
        expected: its type and bounds in words.
        marks: what its field says beside.
    """

    key: str
    meaning: str
    expected: str
    default: Any
    marks: dict[str, Any]


def settings_of(model: type[Section], prefix: str = "") -> list[Setting]:
    """Every key that a file or word may set, in order."""
    found = []
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        if _is_section(kind):
            found += settings_of(kind, f"{prefix}{name}.")
        else:
            marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
            default = field.get_default()
            found.append(Setting(prefix + name, field.description or "", _words(field), default, dict(marks)))
    return found


def load_settings(model: type[Record], path: Path | None, words: Sequence[str]) -> Record:
    """The checked settings of a YAML file with KEY=VALUE words on top.

    Args:
        path: None for the defaults.
        words: such as `crf=18`; later ones win.

    Raises:
        SettingsError: with every problem of file and words, a line each.
        UsageError: a word has no `=`.
    """
    where = "settings" if path is None else path.name
    return check_settings(model, override({} if path is None else read_yaml(path), words, where), where)


def override(content: dict[str, Any], words: Sequence[str], where: str) -> dict[str, Any]:
    """The nested dict with KEY=VALUE words applied in order.

    Raises:
        SettingsError: a word cannot be read or placed.
        UsageError: one has no `=`.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    problems = []
    for word in words:
        key, separator, _ = word.partition("=")
        if not separator or not key.strip():
            raise UsageError(f"{word}: not a setting, expected KEY=VALUE, such as seed=1.")
    tree = OmegaConf.create(content)
    for word in words:
        key, _, text = word.partition("=")
        try:
            value = OmegaConf.from_dotlist([f"value={text}"])["value"]
            OmegaConf.update(tree, key, value, merge=False, force_add=True)
        except (YAMLError, OmegaConfBaseException, ValueError, TypeError, IndexError, AttributeError) as error:
            problems.append(f"{where}: {key}: cannot be set to {text!r}: {first_line(error)}. Fix it.")
    try:
        changed = OmegaConf.to_container(tree, resolve=True)
    except OmegaConfBaseException as error:
        problems.append(f"{where}: {first_line(error)}. Fix the reference.")
    if problems:
        raise SettingsError(problems)
    assert isinstance(changed, dict)
    return {str(key): value for key, value in changed.items()}


def check_settings(model: type[Record], content: Any, where: str) -> Record:
    """The checked settings of a plain nested dict.

    Args:
        where: what messages call its source.

    Raises:
        SettingsError: with every problem, a line each.
    """
    try:
        record = model.model_validate(content)
    except ValidationError as error:
        raise SettingsError([f"{where}: {problem}" for problem in _problems(model, error)]) from None
    if found := [f"{where}: {problem}" for problem in record.contradictions()]:
        raise SettingsError(found)
    return record


def shown(value: Any) -> str:
    """A setting's value as a user types it."""
    if isinstance(value, list):
        return f"[{','.join(shown(one) for one in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {shown(one)}' for key, one in value.items())}}}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(getattr(value, "name", value))


def yaml_lines(record: Section, indent: str = "") -> Iterator[str]:
    """Yield the lines of a YAML file that reads back equal: each setting with its meaning, type and default."""
    plain = record.model_dump()
    for name, field in type(record).model_fields.items():
        value = getattr(record, name)
        if isinstance(value, list) and not any(isinstance(one, dict) for one in plain[name]):
            value = plain[name]  # records that are written as one word
        if isinstance(value, Section):
            yield ""
            yield f"{indent}{name}:"
            yield from yaml_lines(value, f"{indent}  ")
        elif isinstance(value, list) and value and isinstance(value[0], Section):
            yield ""
            yield f"{indent}{name}:  # {field.description}"
            for one in value:
                first, *rest = yaml_lines(one, f"{indent}    ")
                yield f"{indent}  - {first.lstrip()}"
                yield from rest
        else:
            default = "" if field.is_required() or field.get_default() == value else shown(field.get_default())
            notes = f"{_words(field)}{f'; default {default}' if default else ''}"
            yield f"{f'{indent}{name}: {_yaml(value)}':<40} # {field.description} ({notes})"


def _yaml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_yaml(one) for one in value)}]"
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z][\w./-]*", value):
        return json.dumps(value)
    return shown(value)


def nearest(word: str, candidates: Sequence[str]) -> str | None:
    """The candidate that was probably meant, also where only its last part is like it."""
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.7)
    if close:
        return close[0]
    by_last_part = {candidate.rpartition(".")[2]: candidate for candidate in candidates}
    close = difflib.get_close_matches(word.rpartition(".")[2], list(by_last_part), n=1, cutoff=0.7)
    return by_last_part[close[0]] if close else None


def read_yaml(path: Path) -> dict[str, Any]:
    """The nested dict that a YAML file holds; references are kept as they are.

    Raises:
        SettingsError: it cannot be read, or holds something else.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError([f"{path}: cannot be read, got {reason}. Give a YAML file of settings."]) from error
    except (YAMLError, OmegaConfBaseException, ValueError) as error:
        raise SettingsError([f"{path}: not readable as YAML: {first_line(error)}. Fix the file."]) from error
    if not isinstance(content, dict):
        raise SettingsError([f"{path}: got a {type(content).__name__}, expected key: value lines. Fix the file."])
    return {str(key): value for key, value in content.items()}


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted key; lists stay whole."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _problems(model: type[Section], error: ValidationError) -> list[str]:
    """What pydantic found, in words; one line a key."""
    lines: dict[str, str] = {}
    for problem in error.errors():
        key, holder, field = _place(model, problem["loc"])
        if problem["type"] == "extra_forbidden":
            name = str(problem["loc"][-1])
            full = f"{key}.{name}" if key else name
            known = [f"{key}.{one}" if key else one for one in holder.model_fields]
            meant = nearest(full, known + [one.key for one in settings_of(model)])
            lines[full] = f"unknown setting `{full}`" + (
                f", did you mean `{meant}`?" if meant else ". See --help for all."
            )
        elif field is None:
            lines[key] = f"{key + ': ' if key else ''}got {problem['input']!r}, expected key: value lines."
        else:
            got = "nothing" if problem["type"] == "missing" else repr(problem["input"])
            meaning = f" ({field.description})" if field.description else ""
            meant = nearest(str(problem["input"]), _choices(field.annotation))
            hint = f" Did you mean {meant}?" if meant else ""
            lines[key] = f"{key}: got {got}, expected {_words(field)}{meaning}.{hint}"
    return list(lines.values())


def _place(model: type[Section], loc: Sequence[int | str]) -> tuple[str, type[Section], FieldInfo | None]:
    """The dotted key of a place, the section around it, and its field; pydantic's union branches are left out."""
    key, holder, field = "", model, None
    for part in loc:
        if isinstance(part, int) and field is not None:
            key, field = f"{key}[{part}]", FieldInfo.from_annotation(get_args(_bare(field.annotation))[0])
        elif part in holder.model_fields:
            key, field = f"{key}.{part}".lstrip("."), holder.model_fields[str(part)]
        if field is not None and _is_section(_bare(field.annotation)):
            holder = _bare(field.annotation)
    return key, holder, field


def _words(field: FieldInfo) -> str:
    return _type_words(field.annotation, field.metadata)


def _type_words(kind: Any, bounds: Sequence[Any] = ()) -> str:
    """A type and its bounds as a reader of the settings says them."""
    origin = get_origin(kind)
    if origin is Annotated:
        kind, *metadata = get_args(kind)
        inner = [
            one for entry in metadata for one in (entry.metadata if isinstance(entry, FieldInfo) else [entry])
        ]
        return _type_words(kind, [*bounds, *inner])
    if origin is Literal:
        return _either([str(choice) for choice in get_args(kind)])
    if origin in (Union, types.UnionType):
        parts = [part for part in get_args(kind) if part is not type(None)]
        words = [*_choices(kind), *(_type_words(part, bounds) for part in parts if not _choices(part))]
        return _either(words if len(parts) == len(get_args(kind)) else [*words, "null"])
    if origin is list:
        return "a list"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names.get(kind, "key: value lines") + _bound_words(kind, bounds)


def _either(words: Sequence[str]) -> str:
    before = ", ".join(words[:-1])
    return f"{before}{',' if ',' in words[0] else ''} or {words[-1]}" if before else words[-1]


def _bound_words(kind: type, bounds: Sequence[Any]) -> str:
    limit: dict[str, Any] = {
        name: getattr(one, name)
        for one in bounds
        for name in ("gt", "ge", "lt", "le", "multiple_of")
        if getattr(one, name, None) is not None
    }
    if kind is int and "gt" in limit:
        limit["ge"] = limit.pop("gt") + 1
    words = ""
    if "ge" in limit and "le" in limit:
        words = f" from {limit['ge']:g} to {limit['le']:g}"
    else:
        phrases = {"gt": "more than {:g}", "ge": "{:g} or more", "lt": "less than {:g}", "le": "{:g} or less"}
        parts = [text.format(limit[name]) for name, text in phrases.items() if name in limit]
        words = f", {' and '.join(parts)}" if parts else ""
    if "multiple_of" in limit:
        words += ", even" if limit["multiple_of"] == 2 else f", a multiple of {limit['multiple_of']}"
    return words


def _choices(kind: Any) -> list[str]:
    """The words that a type allows, where it is a choice."""
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    return [choice for part in get_args(kind) for choice in _choices(part)]


def _bare(kind: Any) -> Any:
    """The type inside Annotated and beside None."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        parts = [part for part in get_args(kind) if part is not type(None)]
        return _bare(parts[0]) if len(parts) == 1 else kind
    return kind


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
