"""Turn errors of the libraries that read addresses into one sentence and a hint."""

import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from actkit.errors import ActkitError, InputError, UsageError, pip_install
from actkit.remote.url import is_web, kind_of, public, scheme_of

CREDENTIALS = {
    "s3": "aws configure, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a public bucket "
    "FSSPEC_S3_ANON=true",
    "gs": "gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS; for a public bucket "
    "FSSPEC_GCS_TOKEN=anon",
    "az": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, "
    "AZURE_STORAGE_CONNECTION_STRING, or az login",
    "hf": "hf auth login, or HF_TOKEN; check the name too: what is private is not found without",
}
"""Kind of store → how to give credentials for it."""
NO_CREDENTIALS = re.compile(
    r"NoCredentials|PartialCredentials|CredentialsNotFound|DefaultCredentialsError|ProfileNotFound|TokenRetrieval"
    r"|UnauthorizedSSOToken|ClientAuthenticationError|LocalTokenNotFound"
)
UNREACHED = re.compile(
    r"EndpointConnection|ConnectTimeout|ConnectionClosed|ConnectionError|ConnectError|ClientConnector|ServerDisconnected"
    r"|TimeoutError|ReadTimeout|ServiceRequestError|gaierror|OfflineMode|Proxy|URLError"
)
"""Parts of names of error classes; the packages that define them need not be installed."""


@contextmanager
def explained(url: str, kind: type[ActkitError] = InputError) -> Iterator[None]:
    """Turn every error about the file at `url` into an error of the class `kind`: one sentence and a hint.

    FileNotFoundError passes: the caller knows which file it looked for, and names near ones.
    """
    try:
        yield
    except (ActkitError, FileNotFoundError, GeneratorExit):
        raise
    except Exception as error:  # packages that read addresses may raise anything
        raise said(error, url, kind) from error


def said(error: BaseException, url: str, kind: type[ActkitError] = InputError) -> ActkitError:
    """Make the error of class `kind` for `error`; its sentence repeats nothing that may be a secret."""
    chain = list(_chain(error))
    names = [type(cause).__name__ for cause in chain]
    shown = public(url)
    credentials = CREDENTIALS.get(kind_of(url), "check the address")
    missing = next((cause for cause in chain if isinstance(cause, ModuleNotFoundError)), None)
    if missing is not None:
        return lacking(url, str(missing.name))
    status = _status(chain)
    if any(NO_CREDENTIALS.search(name) for name in names) or "Unable to locate credentials" in str(error):
        return kind(f"{shown}: no credentials were found", credentials)
    if status in (401, 403) or any(isinstance(cause, PermissionError) for cause in chain):
        return kind(f"{shown}: access is denied{f' ({status})' if status else ''}", credentials)
    if any(isinstance(cause, ValueError) and "account_name" in str(cause) for cause in chain):
        return kind(f"{shown}: no account was named", credentials)
    if any(map(UNREACHED.search, names)) or any(
        isinstance(cause, (socket.gaierror, ConnectionError)) for cause in chain
    ):
        return kind(f"{shown}: cannot be reached", "check the connection and the address")
    if status is not None:
        again = "the server's fault: try again" if status >= 500 else "check the address"
        return kind(f"{shown}: the server answers {status}", again)
    while error.__cause__ is not None:
        error = error.__cause__
    return kind(f"{shown}: cannot be used ({_short(error, url)})", "check the address")


def is_final(error: BaseException) -> bool:
    """Whether the same request would fail again: it was refused, not merely unanswered."""
    chain = list(_chain(error))
    refused = any(isinstance(cause, (PermissionError, ModuleNotFoundError, NotADirectoryError)) for cause in chain)
    without = any(NO_CREDENTIALS.search(type(cause).__name__) for cause in chain)
    return refused or without or _status(chain) in range(400, 429)


def lacking(url: str, package: str) -> UsageError:
    """The error for an address whose package is not installed."""
    return UsageError(f"{(scheme_of(url) or url)}:// needs {package}", pip_install("'actkit[cloud]'"))


def check_no_password(url: str) -> None:
    """Raise UsageError for a store's address with a key in it: the stores' own tools do not read that either."""
    user, at, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
    if at and not is_web(url) and (":" in user or kind_of(url) != "az"):
        raise UsageError(f"{public(url)}: credentials are not read from an address", CREDENTIALS[kind_of(url)])


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(8):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _status(chain: Iterable[BaseException]) -> int | None:
    """The HTTP status of the first error with a status; None where there is none."""
    return next((number for number in map(_status_of, chain) if number), None)


def _status_of(error: BaseException) -> int | None:
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        found = getattr(error, "status", None) or getattr(error, "status_code", None) or getattr(error, "code", None)
        found = found or getattr(response, "status_code", None)
    if found is None and type(error) is OSError and str(error).startswith("Forbidden: "):  # gcsfs's
        return 403
    return found if isinstance(found, int) and 300 <= found < 600 else None


def _short(error: BaseException, url: str) -> str:
    lines = [line.strip() for line in str(error).replace(url, public(url)).splitlines() if line.strip()]
    # A URL in the text may hold a signature, and an error may repeat the secrets of a request.
    text = re.sub(r"https?://\S+", "…", lines[0]) if lines else type(error).__name__
    text = re.sub(r"(?i)(token|secret|key|signature|authorization|password)\S*\s*[=:]\s*\S+", r"\1 ***", text)
    return text[:200]
