"""How commands fail: one line per problem on standard error, and exit code 1."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenant_security.authoring.description import DescriptionError
from tenant_security.authoring.keyfiles import KeyFileError
from tenant_security.authoring.vendor import UnknownNameError
from tenant_security.broker.refusals import RefusalError
from tenant_security.client.errors import ClientError
from tenant_security.errors import SettingsError, TenantSecurityError
from tenant_security.outbound.broker import BrokerRefusedError
from tenant_security.outbound.flow import UnreachableError
from tenant_security.trust.refusal import SnapshotRefusedError
from tenant_security.wire.snapshot import MalformedError

PROBLEM = 1


@contextmanager
def explained() -> Iterator[None]:
    """Turn faults of the world into words and exit code 1; faults of ours keep their traceback."""
    try:
        yield
    except (DescriptionError, SettingsError) as several:
        fail(*several.problems)
    except ClientError as fault:
        fail(f"{fault}{'; asking again later can help' if fault.retryable else ''}")
    except (KeyFileError, UnknownNameError, SnapshotRefusedError, TenantSecurityError, MalformedError) as one:
        fail(str(one))
    except (BrokerRefusedError, RefusalError) as refused:
        fail(str(refused))
    except UnreachableError as failure:
        fail(f"the broker cannot be reached: {failure}; check --broker and CONFIG_BROKER_CA_FILE")
    except OSError as failure:
        place = f"{failure.filename}: " if isinstance(failure.filename, (str, Path)) else ""
        fail(f"{place}{failure.strerror or failure}")
    except ValueError as wrong:
        fail(str(wrong))


def fail(*problems: str) -> None:
    """Print problems and stop."""
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    sys.exit(PROBLEM)
