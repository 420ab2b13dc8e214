"""An operator of Kaapana that runs hirescam on every element of a batch."""

from datetime import timedelta

from kaapana.operators.KaapanaBaseOperator import KaapanaBaseOperator, default_registry


class HirescamOperator(KaapanaBaseOperator):
    """Kaapana itself sets WORKFLOW_DIR, BATCH_NAME, OPERATOR_IN_DIR and OPERATOR_OUT_DIR, from which hirescam takes its
    folders; the further variables are hirescam's options."""

    def __init__(self, dag, method="hirescam", labels="positive", model="demo", version="latest", **kwargs):
        super().__init__(
            dag=dag,
            name="hirescam",
            image=f"{default_registry}/hirescam:{version}",
            image_pull_secrets=["registry-secret"],
            execution_timeout=timedelta(hours=2),
            ram_mem_mb=6000,
            env_vars={
                "HIRESCAM_PIPELINE_HOST": "kaapana",
                "HIRESCAM_METHOD": method,
                "HIRESCAM_LABELS": labels,
                "HIRESCAM_MODEL": model,
                "HIRESCAM_PIPELINE_FAILURES_OK": "1",
            },
            **kwargs,
        )
