"""/docs.json: what the routes take and give, as an OpenAPI 3.1 document built from the code that answers."""

from serving.openapi.document import PATHS, PRODUCT, openapi_document, product_version

__all__ = ["PATHS", "PRODUCT", "openapi_document", "product_version"]
