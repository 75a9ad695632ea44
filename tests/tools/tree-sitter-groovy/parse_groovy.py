"""Parses files of Groovy; ends with 1 at the first that isn't one, and says where."""

import sys

import tree_sitter
import tree_sitter_groovy

parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_groovy.language()))
for name in sys.argv[1:]:
    with open(name, "rb") as file:
        nodes = [parser.parse(file.read()).root_node]
    while nodes:
        node = nodes.pop()
        if node.is_error or node.is_missing:
            sys.exit(f"{name}:{node.start_point[0] + 1}: this is no Groovy")
        nodes.extend(node.children)
