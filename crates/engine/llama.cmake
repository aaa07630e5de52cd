# llama.cpp asks `llamafile_sgemm` for every product of two matrices before it computes one itself. Its C files ask
# `craton_sgemm` (src/products.rs) instead, which takes what it is faster at and hands the rest on.
add_compile_options($<$<COMPILE_LANGUAGE:C>:-Dllamafile_sgemm=craton_sgemm>)
