"""Filters of subscriptions: text to a predicate over a message's attributes.

    condition: term (AND term)* | term (OR term)*      -- mixed only with parentheses
    term:      [NOT] ( "(" condition ")" | test )
    test:      attributes:KEY | attributes.KEY = "V" | attributes.KEY != "V"
             | hasPrefix(attributes.KEY, "V")
    KEY:       letters, digits, - and _; or a string in quotes

Source: the documentation of Pub/Sub, "Filter messages from a subscription". A message without
the attribute passes `!=` and fails `=` and `hasPrefix`.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

Attributes: TypeAlias = Mapping[str, str]
Predicate: TypeAlias = Callable[[Attributes], bool]

FILTER_BYTES_AT_MOST = 256

_TOKEN = re.compile(
    r'(?P<word>[\w-]+)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<sign>!=|[=:.,()])', re.DOTALL
)
_SPACE = re.compile(r"\s*")
_ESCAPE = re.compile(
    r"\\(?:x(?P<hex>[0-9a-fA-F]{2})|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})"
    r"|(?P<octal>[0-7]{1,3})|(?P<one>.))",
    re.DOTALL,
)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_PLAIN = frozenset("\"'\\?`")
_RESERVED = frozenset({"AND", "OR", "NOT"})


class FilterError(ValueError):
    """The text is no filter; says where, what was found and what is wanted."""


class _Token(NamedTuple):
    kind: str
    """`word`, `text`, `sign` or `end`."""
    value: str
    at: int


def parse_filter(text: str) -> Predicate:
    """A predicate that never raises; of an empty text, one that is always true.

    Raises:
        FilterError: no filter, or longer than 256 bytes.
    """
    size_bytes = len(text.encode("utf-8", "surrogatepass"))
    if size_bytes > FILTER_BYTES_AT_MOST:
        raise FilterError(f"{size_bytes} bytes long; want at most {FILTER_BYTES_AT_MOST}")
    if not text.strip():
        return lambda attributes: True
    parser = _Parser(text)
    predicate = parser.condition()
    parser.want("end", "AND, OR or the end")
    return predicate


class _Parser:
    """Recursive descent; the depth is bounded by the length of a filter."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0

    def condition(self) -> Predicate:
        first = self._term()
        word = self._peek().value
        if self._peek().kind != "word" or word not in ("AND", "OR"):
            return first
        terms = [first]
        while self._peek().kind == "word" and self._peek().value in ("AND", "OR"):
            token = self._take()
            if token.value != word:
                raise FilterError(
                    f"{token.value} after {word} at {token.at}; want parentheses around one of them"
                )
            terms.append(self._term())
        joined = tuple(terms)
        if word == "AND":
            return lambda attributes: all(term(attributes) for term in joined)
        return lambda attributes: any(term(attributes) for term in joined)

    def _term(self) -> Predicate:
        token = self._take()
        if token.kind == "word" and token.value == "NOT":
            inner = self._term()
            return lambda attributes: not inner(attributes)
        if token.value == "(" and token.kind == "sign":
            condition = self.condition()
            self.want(")", "a closing parenthesis")
            return condition
        if token.kind == "word" and token.value == "hasPrefix":
            return self._prefix()
        if token.kind == "word" and token.value == "attributes":
            return self._test()
        raise _unexpected(token, "attributes, hasPrefix, NOT or (")

    def _test(self) -> Predicate:
        if self._peek().value == ":":
            self._take()
            key = self._key()
            return lambda attributes: key in attributes
        self.want(".", ". or : after attributes")
        key = self._key()
        sign = self._take()
        if sign.kind != "sign" or sign.value not in ("=", "!="):
            raise _unexpected(sign, "= or !=")
        value = self._text()
        if sign.value == "=":
            return lambda attributes: key in attributes and attributes[key] == value
        return lambda attributes: key not in attributes or attributes[key] != value

    def _prefix(self) -> Predicate:
        self.want("(", "( after hasPrefix")
        attributes_word = self._take()
        if attributes_word.value != "attributes":
            raise _unexpected(attributes_word, "attributes")
        self.want(".", ". after attributes")
        key = self._key()
        self.want(",", "a comma")
        value = self._text()
        self.want(")", "a closing parenthesis")
        return lambda attributes: key in attributes and attributes[key].startswith(value)

    def _key(self) -> str:
        token = self._take()
        if token.kind == "word" and token.value not in _RESERVED:
            return token.value
        if token.kind == "text":
            return _unescape(token)
        raise _unexpected(token, "the key of an attribute")

    def _text(self) -> str:
        token = self._take()
        if token.kind != "text":
            raise _unexpected(token, "a value in double quotes")
        return _unescape(token)

    def want(self, kind_or_sign: str, wish: str) -> None:
        """Raises FilterError: the next token is another."""
        token = self._take()
        if token.kind != kind_or_sign and not (
            token.kind == "sign" and token.value == kind_or_sign
        ):
            raise _unexpected(token, wish)

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        if token.kind != "end":
            self._next += 1
        return token


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while True:
        space = _SPACE.match(text, at)
        at = space.end() if space else at
        if at == len(text):
            return [*found, _Token("end", "", at)]
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise FilterError(f"{text[at : at + 10]!r} at {at}; want a filter's word, sign or text")
        found.append(_Token(match.lastgroup, match.group(), at))
        at = match.end()


def _unescape(token: _Token) -> str:
    def meant(match: re.Match[str]) -> str:
        one = match["one"]
        if one is not None:
            if one not in _LETTERS and one not in _PLAIN:
                raise FilterError(f"escape \\{one} in the text at {token.at}; want \\\\ or another")
            return _LETTERS.get(one, one)
        digits = match["hex"] or match["short"] or match["long"]
        number = int(match["octal"], 8) if digits is None else int(digits, 16)
        if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
            raise FilterError(f"escape {match.group()} at {token.at}; want a Unicode character")
        return chr(number)

    return _ESCAPE.sub(meant, token.value[1:-1])


def _unexpected(token: _Token, wish: str) -> FilterError:
    found = "the end" if token.kind == "end" else repr(token.value[:20])
    return FilterError(f"{found} at {token.at}; want {wish}")
