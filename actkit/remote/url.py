"""Addresses of remote files: their schemes, and the part of them that a file, a log or an error may repeat."""

import re
import urllib.parse

from actkit.errors import first_line

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
"""Scheme of an address → the usual scheme for that kind of store."""
STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
"""Schemes of stores that a run can be written to."""
FEATURE_PAGES = "https://neuronpedia.org"
"""The site with pages of SAE features."""
READABLE = "s3://, gs://, az://, hf:// and https://"
URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(/?)")
"""`s3://…`, also as a path, which keeps one of the two slashes; `C:/` does not match."""
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+:/{1,2})[^/@\s:]*:[^/@\s]*@|((?:https?|s3a?|gc?s|hf):/{1,2})[^/@\s]+@")
VALUE = re.compile(r"([?&]([\w.~%-]+)=)[^&\s'\"]+?(?=[:,;.)\]]*(?:[\s'\"&]|$))")
"""`USER` and `VALUE` find, in a text, user and password of an address, and values of its query."""
TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")
PLAIN = ("download", "raw", "dl", "format", "version", "versionid", "rev", "revision", "ref", "page", "split", "config")
"""Keys of a query whose values are no secrets; any other value may be a signature."""


def scheme_of(where: str) -> str | None:
    """The scheme of an address, or of a path made of it, such as `s3`; None for a local name or an unknown scheme."""
    found = URL.match(where)
    return found[1].lower() if found and found[1].lower() in SCHEMES else None


def kind_of(where: str) -> str:
    """The kind of store of an address, by its usual scheme, such as `az`; empty for a local name."""
    scheme = scheme_of(where) or ""
    return KINDS.get(scheme, scheme)


def is_web(where: str) -> bool:
    """Whether an address is of the web (http or https)."""
    return scheme_of(where) in ("http", "https")


def as_url(where: str) -> str:
    """The address with both slashes, of which a path keeps one, and with its scheme in lower case."""
    found = URL.match(where)
    return where if found is None else f"{found[1].lower()}://{where[found.end() :]}"


def file_name(where: str) -> str:
    """The address without the query of a web address, and with `%20` decoded, so that its end is the file's name."""
    return urllib.parse.unquote(re.split("[?#]", where, maxsplit=1)[0]) if is_web(where) else where


def public(where: str) -> str:
    """The address without user, password or signature, so that it may be shown. A local name stays as it is."""
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
    """Mask a text's secrets: tokens of the hub, and each address's user, password and signature."""
    text = TOKEN.sub("***", text)
    if ADDRESS.search(text) is None:
        return text
    text = USER.sub(lambda found: f"{found[1] or found[2]}***@", text)
    return VALUE.sub(lambda found: found[0] if found[2].lower() in PLAIN else f"{found[1]}***", text)


def said(error: BaseException) -> str:
    """Return the first line of another library's error, masked before it is cut: half a secret is not recognised."""
    return publicly(first_line(error, most=len(str(error))))[:300]


def _without_values(query: str) -> str:
    query, mark, fragment = query.partition("#")
    kept = (pair.partition("=") for pair in query.split("&"))
    shown = [name + (f"={value if name.lower() in PLAIN else '***'}" if is_ else "") for name, is_, value in kept]
    return "&".join(shown) + mark + fragment
