"""read_spark.py < requests > answers

Spark with the Iceberg runtime, for many requests in one process, as it takes ten seconds to start. Each line of standard input
is JSON: {"metadata": <metadata.json URI>, "sql": "... {table} ..."}; metadata may be missing when the SQL names tables of the
catalog "lab", a folder of Hadoop-style tables given by the environment variable WAREHOUSE. The answer to each is
one line: {"rows": [...]} or {"error": "..."}. Run with the python of scripts/spark-env.sh.
"""
import json
import os
import pathlib
import sys

os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
from json_rows import encode
from pyspark.sql import SparkSession

jars = pathlib.Path(sys.executable).parent.parent / "jars"
settings = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.driver.memory": "1g",
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Duser.timezone=UTC",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.session.timeZone": "UTC",
    "spark.jars": ",".join(str(jar) for jar in jars.glob("*.jar")),
    "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
    "spark.sql.catalog.lab": "org.apache.iceberg.spark.SparkCatalog",
    "spark.sql.catalog.lab.type": "hadoop",
    "spark.sql.catalog.lab.warehouse": os.environ.get("WAREHOUSE", "file:///tmp/frazil-spark"),
    "spark.sql.catalog.lab.cache-enabled": "false",
    "spark.sql.catalog.memory": "org.apache.iceberg.spark.SparkCatalog",
    "spark.sql.catalog.memory.catalog-impl": "org.apache.iceberg.inmemory.InMemoryCatalog",
    "spark.sql.catalog.memory.cache-enabled": "false",
}
builder = SparkSession.builder.master("local[1]").appName("frazil")
for key, value in settings.items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()
spark.sparkContext.setLogLevel("OFF")
spark.sql("CREATE NAMESPACE IF NOT EXISTS memory.db")

for number, line in enumerate(sys.stdin):
    request = json.loads(line)
    try:
        table = f"memory.db.t{number}"
        if "metadata" in request:
            spark.sql(f"CALL memory.system.register_table(table => 'db.t{number}', metadata_file => '{request['metadata']}')")
        rows = spark.sql(request["sql"].replace("{table}", table)).collect()
        print(encode({"rows": [row.asDict(recursive=True) for row in rows]}), flush=True)
    except Exception as error:
        print(encode({"error": str(error)[:2000]}), flush=True)
spark.stop()
