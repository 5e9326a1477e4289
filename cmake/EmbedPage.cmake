# cmake -D FOLDER=web -D OUTPUT=file.cc -P EmbedPage.cmake: a C++ source with the bytes of every file of FOLDER, for
# src/page/built_in_files.h.
file(GLOB files ${FOLDER}/*)
set(arrays "")
set(entries "")
set(number 0)
foreach(path ${files})
  get_filename_component(name ${path} NAME)
  file(READ ${path} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND arrays "constexpr unsigned char kFile${number}[] = {${bytes}};\n")
  string(APPEND entries "  {\"${name}\", {reinterpret_cast<const char*>(kFile${number}), sizeof(kFile${number})}},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE ${OUTPUT}.new "#include \"page/built_in_files.h\"

namespace s3d {
namespace {

${arrays}
const BuiltInFile kFiles[] = {
${entries}};

}  // namespace

std::span<const BuiltInFile> built_in_files() {
  return kFiles;
}

}  // namespace s3d
")
file(RENAME ${OUTPUT}.new ${OUTPUT})
