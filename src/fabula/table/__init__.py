"""The writing table: a story as a tree, told by a writer and a model in turns; this file is only the room's door."""

from fabula.table.desk import STRETCHES, Copies, Desk
from fabula.table.file import dump, load, parse, save
from fabula.table.keeper import Keeper
from fabula.table.search import Choice
from fabula.table.tree import ROOT, Table, Word

__all__ = ["ROOT", "STRETCHES", "Choice", "Copies", "Desk", "Keeper", "Table", "Word", "dump", "load", "parse", "save"]
