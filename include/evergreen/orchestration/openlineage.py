"""What a stage reads and writes, in OpenLineage's words: what the operator answers when Airflow's provider asks it at a
task's start and end. It asks where a collector is named (`orchestration.collector`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evergreen.orchestration.reading import Dataset, ReadAndWritten

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

CONTENT = "evergreen_content"  # the facet of ours: digests of what was written


def told(known: ReadAndWritten) -> OperatorLineage:
    """As the provider takes it."""
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset

    inputs = [InputDataset(each.namespace, each.name, facets=_facets(each)) for each in known.inputs]
    outputs = [
        OutputDataset(
            each.namespace, each.name, facets=_facets(each) | _column_lineage(each), outputFacets=_statistics(each)
        )
        for each in known.outputs
    ]
    return OperatorLineage(inputs=inputs, outputs=outputs)


def _facets(dataset: Dataset) -> dict[str, Any]:
    from openlineage.client.facet_v2 import DatasetFacet, dataset_version_dataset, schema_dataset

    facets: dict[str, Any] = {}
    if dataset.columns:
        fields = [schema_dataset.SchemaDatasetFacetFields(name, kind) for name, kind in dataset.columns.items()]
        facets["schema"] = schema_dataset.SchemaDatasetFacet(fields=fields)
    if dataset.version is not None:
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(dataset.version)
    if dataset.content_hash is not None or dataset.partitions:
        facets[CONTENT] = DatasetFacet().with_additional_properties(
            contentHash=dataset.content_hash, partitions=dict(dataset.partitions)
        )
    return facets


def _statistics(dataset: Dataset) -> dict[str, Any]:
    from openlineage.client.facet_v2 import output_statistics_output_dataset as facet

    if dataset.rows is None:
        return {}
    return {"outputStatistics": facet.OutputStatisticsOutputDatasetFacet(rowCount=dataset.rows)}


def _column_lineage(dataset: Dataset) -> dict[str, Any]:
    from openlineage.client.facet_v2 import column_lineage_dataset as facet

    if not dataset.same_as and not dataset.made_of:
        return {}

    def field(of: Dataset, column: str, kind: str, subtype: str | None = None) -> Any:
        return facet.InputField(of.namespace, of.name, column, [facet.Transformation(kind, subtype)])

    fields = {
        name: facet.Fields([field(of, column, "DIRECT", "IDENTITY")]) for name, (of, column) in dataset.same_as.items()
    }
    made_of = [field(of, column, "INDIRECT") for of in dataset.made_of for column in of.columns]
    return {"columnLineage": facet.ColumnLineageDatasetFacet(fields=fields, dataset=made_of)}
