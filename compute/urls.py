"""Addresses of this app. Customer pages start with o/<slug:organization>/."""

from django.urls import URLPattern, URLResolver, path

from compute.api import instances as api
from compute.api import ssh_keys as ssh_key_api
from compute.views import catalog, instances, ssh_keys

app_name = "compute"
urlpatterns: list[URLPattern | URLResolver] = [
    path("instance-types/", catalog.instance_type_list, name="instance-type-list"),
    path("instance-types/<str:name>/", catalog.instance_type_detail, name="instance-type-detail"),
    path("o/<slug:organization>/instances/", instances.instance_list, name="instance-list"),
    path("o/<slug:organization>/instances/status/", instances.instance_status, name="instance-status"),
    path("o/<slug:organization>/instances/launch/", instances.instance_launch, name="instance-launch"),
    path("o/<slug:organization>/instances/<str:public_id>/", instances.instance_detail, name="instance-detail"),
    path("o/<slug:organization>/instances/<str:public_id>/stop/", instances.instance_stop, name="instance-stop"),
    path("o/<slug:organization>/instances/<str:public_id>/start/", instances.instance_start, name="instance-start"),
    path(
        "o/<slug:organization>/instances/<str:public_id>/restart/", instances.instance_restart, name="instance-restart"
    ),
    path(
        "o/<slug:organization>/instances/<str:public_id>/terminate/",
        instances.instance_terminate,
        name="instance-terminate",
    ),
    path("o/<slug:organization>/ssh-keys/", ssh_keys.ssh_key_list, name="ssh-key-list"),
    path("o/<slug:organization>/ssh-keys/new/", ssh_keys.ssh_key_create, name="ssh-key-create"),
    path("o/<slug:organization>/ssh-keys/<str:public_id>/delete/", ssh_keys.ssh_key_delete, name="ssh-key-delete"),
    path("api/v1/instance-types", api.InstanceTypeList.as_view(), name="api-instance-type-list"),
    path("api/v1/instance-operations/launch", api.Launch.as_view(), name="api-launch"),
    path("api/v1/instance-operations/terminate", api.Terminate.as_view(), name="api-terminate"),
    path("api/v1/instance-operations/restart", api.Restart.as_view(), name="api-restart"),
    path("api/v1/instances", api.InstanceList.as_view(), name="api-instance-list"),
    path("api/v1/instances/<str:public_id>", api.InstanceDetail.as_view(), name="api-instance-detail"),
    path("api/v1/ssh-keys", ssh_key_api.SshKeyList.as_view(), name="api-ssh-key-list"),
    path("api/v1/ssh-keys/<str:public_id>", ssh_key_api.SshKeyDetail.as_view(), name="api-ssh-key-detail"),
    path("api/v1/images", api.ImageList.as_view(), name="api-image-list"),
]
