"""Static files: hashed names, pre-compressed, ES module imports rewritten to the hashed names."""

from collections.abc import Iterator

from whitenoise.compress import Compressor
from whitenoise.storage import CompressedManifestStaticFilesStorage

# What every visitor loads. The rest is the admin's, for staff alone.
FOR_VISITORS = ("css/", "js/", "img/", "django_htmx/")


class HashedStaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # whitenoise carries no types
    """Brotli at its best for what visitors load, gzip alone for the rest: that is most of a first start's time."""

    support_js_module_import_aggregation = True
    _with_brotli = True

    def compress_files(self, paths: set[str]) -> Iterator[tuple[str, str]]:
        visited = {path for path in paths if path.startswith(FOR_VISITORS)}
        for self._with_brotli, some in ((True, visited), (False, paths - visited)):
            yield from super().compress_files(some)

    def create_compressor(self, **options: object) -> Compressor:
        return Compressor(use_brotli=self._with_brotli, **options)
