"""What the addresses of the public lists may say (filters, order, comparison), and what staff write."""

from catalog.forms.instance_types import INSTANCE_TYPE_COLUMNS, InstanceTypeListForm
from catalog.forms.lists import MAXIMUM_COMPARED, ListForm
from catalog.forms.proposals import PriceProposalForm
from catalog.forms.served_models import MODEL_COLUMNS, ModelListForm

__all__ = [
    "INSTANCE_TYPE_COLUMNS",
    "MAXIMUM_COMPARED",
    "MODEL_COLUMNS",
    "InstanceTypeListForm",
    "ListForm",
    "ModelListForm",
    "PriceProposalForm",
]
