"""A workflow of Kaapana: fetch CT series, explain them, send the DICOM results back."""

from datetime import timedelta

from airflow.models import DAG
from airflow.utils.dates import days_ago
from hirescam.HirescamOperator import HirescamOperator
from kaapana.operators.DcmSendOperator import DcmSendOperator
from kaapana.operators.LocalGetInputDataOperator import LocalGetInputDataOperator
from kaapana.operators.LocalWorkflowCleanerOperator import LocalWorkflowCleanerOperator

dag = DAG(
    dag_id="hirescam",
    default_args={
        "ui_visible": True,
        "owner": "kaapana",
        "start_date": days_ago(0),
        "retries": 0,
        "retry_delay": timedelta(seconds=30),
    },
    concurrency=4,
    max_active_runs=4,
    schedule_interval=None,
)

get_input = LocalGetInputDataOperator(dag=dag)
explain = HirescamOperator(dag=dag, input_operator=get_input)
send = DcmSendOperator(dag=dag, input_operator=explain)
clean = LocalWorkflowCleanerOperator(dag=dag, clean_workflow_dir=True)

get_input >> explain >> send >> clean
