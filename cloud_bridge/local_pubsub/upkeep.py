"""What is done between the calls: leases end, debts to the disk are paid, old messages go."""

import logging

from cloud_bridge.local_pubsub.clocks import Clocks
from cloud_bridge.local_pubsub.committing import Committer
from cloud_bridge.local_pubsub.directory import Directory
from cloud_bridge.local_pubsub.exchange import Exchange
from cloud_bridge.local_pubsub.refusals import RefusedError
from cloud_bridge.local_pubsub.store import Store
from cloud_bridge.local_pubsub.subscription import Subscription

log = logging.getLogger(__name__)

SWEPT_AT_ONCE = 2000


class Upkeep:
    """Its calls are to be repeated: `turn` several times a second, `sweep` once a minute."""

    def __init__(
        self, committer: Committer, directory: Directory, exchange: Exchange, clocks: Clocks
    ) -> None:
        self._committer = committer
        self._directory = directory
        self._exchange = exchange
        self._clocks = clocks
        self._is_owing = False
        """The disk refuses acknowledgements, as the log knows."""

    async def turn(self) -> None:
        """End leases, wake those who wait, and write down what was acknowledged."""
        for subscription in list(self._directory.subscriptions.values()):
            self._exchange.turn(subscription)
            await self.settle(subscription)

    async def settle(self, subscription: Subscription) -> None:
        """Write down what was acknowledged, and how often deliveries failed."""
        while debt := subscription.take_debt():
            try:
                await self._committer.ask(debt.pay)
            except Exception as refusal:
                subscription.owe(debt)
                if not isinstance(refusal, RefusedError):
                    raise
                if not self._is_owing:
                    log.error("acknowledgements not stored, tried again and again: %s", refusal)
                self._is_owing = True
                return
            if self._is_owing:
                log.info("acknowledgements are stored again")
            self._is_owing = False

    async def sweep(self) -> None:
        """Drop messages that are older than their subscription keeps them, counted.

        Raises:
            RefusedError: the disk refused; to be tried again later.
        """
        served_s = self._clocks.served_s()
        await self._committer.ask(lambda store: store.note_served(served_s))
        for subscription in list(self._directory.subscriptions.values()):
            await self._expire(subscription, served_s - subscription.delivery.rules.retention_s)
        while await self._committer.ask(lambda store: store.remove_orphans(SWEPT_AT_ONCE)):
            pass

    async def _expire(self, subscription: Subscription, born_before_s: float) -> None:
        def remove(store: Store) -> list[int]:
            return store.remove_older(subscription.number, born_before_s, SWEPT_AT_ONCE)

        expired = 0
        while ids := await self._committer.ask(remove):
            for identity in ids:
                subscription.delivery.forget(identity)
            expired += len(ids)
        if expired:
            self._exchange.counts.expired += expired
            log.warning(
                "messages expired, nobody acknowledged them subscription=%s count=%d",
                subscription.settings.name,
                expired,
            )

    async def finish(self) -> None:
        """Pay what is owed; what the disk refuses now comes again after the next start."""
        for subscription in self._directory.subscriptions.values():
            await self.settle(subscription)
        served_s = self._clocks.served_s()
        try:
            await self._committer.ask(lambda store: store.note_served(served_s))
        except RefusedError as refusal:
            log.warning("served time not noted: %s", refusal)
