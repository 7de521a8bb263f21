"""KMS keys opened from their sealed configs, the few that are in use."""

from collections import OrderedDict
from collections.abc import Callable

from tenant_security.directory.tenants import ConfigHandle
from tenant_security.kms.provider import KmsKey
from tenant_security.wire.kms_configs import KmsConfig


class OpenedConfigs:
    """Opens a config on first use and keeps the most recently used ones open, by fingerprint.

    A changed config has another fingerprint, so an old key can never be found through a new directory; :meth:`retain`
    drops what the directory no longer holds, credentials included.
    """

    def __init__(self, open_key: Callable[[KmsConfig], KmsKey], *, most: int = 4096) -> None:
        self._open_key = open_key
        self._most = most
        self._keys: OrderedDict[bytes, KmsKey] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, config: ConfigHandle) -> KmsKey:
        """Return the config's key. Raises TenantSecurityError 207 when the config cannot be opened."""
        fingerprint = config.fingerprint
        key = self._keys.get(fingerprint)
        if key is None:
            key = self._open_key(config.open())
            self._keys[fingerprint] = key
            if len(self._keys) > self._most:
                self._keys.popitem(last=False)
        else:
            self._keys.move_to_end(fingerprint)
        return key

    def retain(self, wanted: Callable[[bytes], bool]) -> None:
        """Drop every key whose config's fingerprint is not wanted any more."""
        for fingerprint in [each for each in self._keys if not wanted(each)]:
            del self._keys[fingerprint]
