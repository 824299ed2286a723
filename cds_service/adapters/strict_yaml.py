"""YAML without its surprises.

PyYAML's defaults turn ``no`` into False, ``12:30`` into 750, ``010`` into 8, ``0.1`` into a float, and let the last of
two equal keys win. Here every scalar stays text, and anchors, tags, merges and equal keys are refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from cds_service.policy.source import Complaint, Node

_MAX_DEPTH = 40
_PLAIN = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "null", "bool", "int", "float", "timestamp", "value")
)


def read(text: str, file: str, complaints: list[Complaint]) -> Node | None:
    """The one document in ``text``; None, with complaints added, where it cannot be read."""
    loader = yaml.CSafeLoader(text)
    try:
        root = loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = str(getattr(error, "problem", None) or "text that is not YAML").removeprefix("found ")
        complaints.append(Complaint(file, mark.line + 1 if mark else 1, "", problem, "one YAML document"))
        return None
    finally:
        loader.dispose()
    if root is None:
        complaints.append(Complaint(file, 1, "", "an empty file", "one YAML document"))
        return None
    return _Converter(file, complaints).convert(root, "", 0)


class _Converter:
    """Turns one file's nodes into ours, noting what is refused."""

    def __init__(self, file: str, complaints: list[Complaint]) -> None:
        self.file = file
        self.complaints = complaints
        self.seen: set[int] = set()  # a node met twice came from an alias

    def wrong(self, line: int, where: str, found: str, allowed: str) -> None:
        self.complaints.append(Complaint(self.file, line, where, found, allowed))

    def convert(self, node: yaml.Node, where: str, depth: int) -> Node:
        line = node.start_mark.line + 1
        if depth > _MAX_DEPTH or id(node) in self.seen:
            found = "an alias" if id(node) in self.seen else "deeper nesting"
            self.wrong(line, where, found, f"values written out, at most {_MAX_DEPTH} levels deep")
            return Node(None, self.file, line)
        self.seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return Node(self.mapping(node, where, depth), self.file, line)
        if isinstance(node, yaml.SequenceNode):
            items: Sequence[yaml.Node] = node.value
            read_items = tuple(self.convert(item, f"{where}[{n}]", depth + 1) for n, item in enumerate(items))
            return Node(read_items, self.file, line)
        if node.tag not in _PLAIN:
            self.wrong(line, where, f"the tag {node.tag}", "plain text, without tags")
        absent = node.tag == "tag:yaml.org,2002:null"
        return Node(None if absent else str(node.value), self.file, line)

    def mapping(self, node: yaml.MappingNode, where: str, depth: int) -> dict[str, Node]:
        result: dict[str, Node] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.wrong(line, where, "a key that is not text", "a word as key")
                continue
            key = str(key_node.value)
            path = f"{where}.{key}" if where else key
            if key == "<<":
                self.wrong(line, where, "a merge key <<", "each value written out")
            elif key in result:
                first = result[key].line
                self.wrong(line, path, f"the key {key} a second time (first in line {first})", "each key once")
            else:
                result[key] = self.convert(value_node, path, depth + 1)
        return result
