"""Addresses of files elsewhere: their schemes, and the part of them that a file, a log or an error may repeat."""

import re
import urllib.parse

SCHEMES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "hf": "huggingface_hub",
    "http": "aiohttp",
    "https": "aiohttp",
}
"""Scheme of an address → the package that reads files there."""
KINDS = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az"}
"""Scheme of an address → the usual scheme of the same kind of store."""
STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
"""Schemes of stores that a run can be written to."""
FEATURE_PAGES = "https://neuronpedia.org"
"""Where features of SAEs have pages."""
READABLE = "s3://, gs://, az://, hf:// and https://"
URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(/?)")
"""`s3://…`, also as a path, which has one of the two slashes; `C:/` is none."""
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+:/{1,2})[^/@\s:]*:[^/@\s]*@|((?:https?|s3a?|gc?s|hf):/{1,2})[^/@\s]+@")
VALUE = re.compile(r"([?&]([\w.~%-]+)=)[^&\s'\"]+?(?=[:,;.)\]]*(?:[\s'\"&]|$))")
"""In a text: the user and password of an address, and the values of its query. An address may have blanks in it."""
PLAIN = ("download", "raw", "dl", "format", "version", "versionid", "rev", "revision", "ref", "page", "split", "config")
"""Keys of a query whose values are no secret; every other value may be a signature."""


def scheme_of(where: str) -> str | None:
    """`s3` of `s3://bucket/x`, and of a path that was made of it; None for a local name and an unknown scheme."""
    found = URL.match(where)
    return found[1].lower() if found and found[1].lower() in SCHEMES else None


def kind_of(where: str) -> str:
    """The kind of store that an address is of, `az` for instance, by its usual scheme; empty for a local name."""
    scheme = scheme_of(where) or ""
    return KINDS.get(scheme, scheme)


def is_web(where: str) -> bool:
    """Whether an address is one of the web, whose path ends before `?`."""
    return scheme_of(where) in ("http", "https")


def as_url(where: str) -> str:
    """The address with both slashes and its scheme in small letters, however it came through a path."""
    found = URL.match(where)
    return where if found is None else f"{found[1].lower()}://{where[found.end() :]}"


def file_name(where: str) -> str:
    """The address as far as its name says what the file is: without the query of a web address, its `%20` undone."""
    return urllib.parse.unquote(re.split("[?#]", where, maxsplit=1)[0]) if is_web(where) else where


def public(where: str) -> str:
    """The part of an address that may be repeated: no user, password or signature. A local name stays as it is."""
    if scheme_of(where) is None:
        return where
    head, mark, query = where.partition("?") if is_web(where) else (where, "", "")
    start = head.find("//") + 1
    authority, slash, rest = head[start + 1 :].partition("/")
    user, at, host = authority.rpartition("@")
    # container@account is no password.
    if at and (":" in user or kind_of(where) != "az"):
        authority = f"***@{host}"
    return f"{head[: start + 1]}{authority}{slash}{rest}{mark}{_without_values(query)}"


def publicly(text: str) -> str:
    """A text, such as an error's, with nothing of any address in it that `public` would not repeat."""
    if ADDRESS.search(text) is None:
        return text
    text = USER.sub(lambda found: f"{found[1] or found[2]}***@", text)
    return VALUE.sub(lambda found: found[0] if found[2].lower() in PLAIN else f"{found[1]}***", text)


def _without_values(query: str) -> str:
    query, mark, fragment = query.partition("#")
    kept = (pair.partition("=") for pair in query.split("&"))
    shown = [name + (f"={value if name.lower() in PLAIN else '***'}" if is_ else "") for name, is_, value in kept]
    return "&".join(shown) + mark + fragment
