#!/usr/bin/env nextflow
// Explains every scan that params.scans names, one task each:
//   nextflow run main.nf --scans '/data/scans/*' --outdir maps
nextflow.enable.dsl = 2

params.scans = null
params.outdir = 'hirescam-output'
params.model = 'demo'
params.method = 'hirescam'
params.labels = 'positive'

process HIRESCAM {
    tag "${scan.name}"
    label 'process_medium'
    container 'hirescam:latest'
    publishDir params.outdir, mode: 'copy'

    input:
    path scan

    output:
    path 'results/**/summary.json', emit: summaries
    path 'results/**/*.{nii.gz,png,dcm}', emit: maps, optional: true
    path 'results/predictions.csv', emit: predictions
    path 'versions.yml', emit: versions

    script:
    """
    hirescam pipeline --host nextflow '${scan}' -o results --model '${params.model}' \\
        --method '${params.method}' --labels '${params.labels}' --jobs ${task.cpus}
    printf '"%s":\\n    hirescam: %s\\n' '${task.process}' "\$(hirescam --version | cut -d' ' -f2)" > versions.yml
    """
}

workflow {
    if (!params.scans) {
        error "Give --scans 'GLOB': files or folders of scans."
    }
    HIRESCAM(Channel.fromPath(params.scans, type: 'any', checkIfExists: true))
}
