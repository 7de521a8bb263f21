"""KMS keys opened from their sealed configs, the few that are in use."""

from collections import OrderedDict
from collections.abc import Callable

from tenant_security.directory.tenants import ConfigHandle
from tenant_security.kms.provider import KmsKey


class OpenedConfigs:
    """Opens a config on first use and keeps the most recently used ones open, by fingerprint.

    A changed config has another fingerprint, so an old key can never be found through a new directory; :meth:`retain`
    drops what the directory no longer holds, credentials included.
    """

    def __init__(self, open_key: Callable[[ConfigHandle], KmsKey], *, most: int = 4096) -> None:
        self._open_key = open_key
        self._most = most
        self._keys: OrderedDict[bytes, tuple[str, KmsKey]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, tenant_id: str, config: ConfigHandle) -> KmsKey:
        """Return the config's key, for this tenant's use.

        Raises: TenantSecurityError 207 when the config cannot be opened.
        """
        fingerprint = config.fingerprint
        found = self._keys.get(fingerprint)
        key = self._open_key(config) if found is None else found[1]
        self._keys[fingerprint] = tenant_id, key
        if found is not None:
            self._keys.move_to_end(fingerprint)
        elif len(self._keys) > self._most:
            self._keys.popitem(last=False)
        return key

    def retain(self, wanted: Callable[[str, bytes], bool]) -> None:
        """Drop every key that its last user may no longer use: ``wanted(tenant id, config fingerprint)``.

        A config that other tenants still share is opened again at their next call.
        """
        for fingerprint, (tenant_id, _) in list(self._keys.items()):
            if not wanted(tenant_id, fingerprint):
                del self._keys[fingerprint]
