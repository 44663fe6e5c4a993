"""OAuth bearer tokens: whether a token of an identity provider lets somebody in, and whom.

See also: trust/primitives/web_tokens.py (signatures), host/token_keys.py (where the provider's keys come from).
"""

from letterlock.trust.oauth.verify import Expectations, user_of
from letterlock.trust.primitives.web_tokens import TokenKeys, UnknownKey, read_keys

__all__ = ["Expectations", "TokenKeys", "UnknownKey", "read_keys", "user_of"]
