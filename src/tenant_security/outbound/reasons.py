"""Why no answer came from a peer."""

from enum import Enum


class Reason(Enum):
    """Why no response came."""

    NAME = "name resolution failed"
    CONNECT = "no connection"
    TLS = "the TLS certificate or handshake was refused"
    TIMEOUT = "no answer in time"
    RESET = "the connection broke"
    TOO_LARGE = "the answer was too large"
    REFUSED = "the address is not allowed"
