# The kernels for NVIDIA cards: nvcc of the system, or that of scripts/setup --cuda. Without one, -DS3D_CUDA=ON builds the
# emulated device alone. nvcc is called directly: CMake's own CUDA language would want a toolkit wherever it is enabled,
# and CMake 3.25 does not know the newer ones.
#
# s3d_nvcc_objects(VARIABLE source…): objects for every architecture of S3D_CUDA_ARCHITECTURES and PTX for later cards.
set(S3D_CUDA_ARCHITECTURES "75;80;86;89;90;120" CACHE STRING "Compute capabilities that kernels are compiled for")
find_program(S3D_NVCC nvcc HINTS ${PROJECT_SOURCE_DIR}/.deps/cuda/nvidia/cu13/bin /usr/local/cuda/bin
  ENV CUDA_HOME PATH_SUFFIXES bin)

# The bits of a float must not depend on what nvcc chose to contract or to approximate (docs/gpu.md, "Rules for bits").
set(s3d_nvcc_flags -std=c++20 -O3 --expt-relaxed-constexpr -fmad=false -ftz=false -prec-div=true -prec-sqrt=true
  -diag-suppress 128 -Xcompiler=-fPIC,-Wno-pedantic)

if(S3D_NVCC)
  get_filename_component(nvcc_file ${S3D_NVCC} REALPATH)
  get_filename_component(nvcc_bin ${nvcc_file} DIRECTORY)
  get_filename_component(s3d_cuda_root ${nvcc_bin} DIRECTORY)
  find_library(S3D_CUDART cudart_static HINTS ${s3d_cuda_root} PATH_SUFFIXES lib64 lib targets/x86_64-linux/lib NO_CACHE)
  find_path(S3D_CUDA_INCLUDE cuda_runtime_api.h HINTS ${s3d_cuda_root} PATH_SUFFIXES include targets/x86_64-linux/include
    NO_CACHE)
endif()
if(S3D_NVCC AND S3D_CUDART AND S3D_CUDA_INCLUDE)
  message(STATUS "CUDA: ${S3D_NVCC}, for ${S3D_CUDA_ARCHITECTURES}")
  set(S3D_CUDA_CARDS ON)
else()
  message(STATUS "CUDA: no toolkit; only the emulated device is built")
  set(S3D_CUDA_CARDS OFF)
endif()

function(s3d_nvcc_objects variable)
  set(codes)
  foreach(architecture ${S3D_CUDA_ARCHITECTURES})
    list(APPEND codes -gencode arch=compute_${architecture},code=sm_${architecture})
  endforeach()
  # Cards of a generation without a cubin here (10.0, 11.0, later ones) compile this when the program starts.
  list(APPEND codes -gencode arch=compute_90,code=compute_90)
  set(objects)
  get_target_property(ggml_include ggml::ggml-base INTERFACE_INCLUDE_DIRECTORIES)
  foreach(source ${ARGN})
    get_filename_component(name ${source} NAME_WE)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.cu.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${S3D_NVCC} -c ${s3d_nvcc_flags} ${codes} -I${PROJECT_SOURCE_DIR}/src -I${PROJECT_SOURCE_DIR}/include
        "-I$<JOIN:${ggml_include},;-I>" -MD -MF ${object}.d -o ${object} ${source}
      DEPENDS ${source} DEPFILE ${object}.d COMMENT "nvcc ${name}.cu" VERBATIM COMMAND_EXPAND_LISTS)
    list(APPEND objects ${object})
  endforeach()
  set(${variable} ${objects} PARENT_SCOPE)
endfunction()
