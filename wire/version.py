"""Owns Ovid's version: in containers it runs as folders, which no package metadata describes."""

VERSION = "0.1.0"
