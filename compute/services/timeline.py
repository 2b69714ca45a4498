"""The story of an instance, in words for its customer."""

from datetime import datetime

from compute.models import Instance, InstanceEvent
from compute.reconcile import State


def tell(instance: Instance, text: str, *, now: datetime) -> None:
    """Append a line about what has just happened to the instance."""
    InstanceEvent.objects.create(
        organization_id=instance.organization_id, instance=instance, at=now, state=instance.state, text=text
    )


def enter_state(instance: Instance, state: State, text: str, *, now: datetime) -> None:
    """Move a locked instance along an arrow of the diagram and tell it; the caller saves the row.

    Raises ValueError for an arrow that the diagram does not have.
    """
    if state != instance.state and not instance.can_become(state):
        raise ValueError(f"{instance} cannot become {state} from {instance.state}")
    instance.state = state.value
    instance.state_since = now
    tell(instance, text, now=now)
