#!/bin/sh
# Generates the stubs and compiles the node into a folder: `build.sh FOLDER`, then `FOLDER/run.sh PORT`.
set -eu
folder=$1
here=$(cd "$(dirname "$0")" && pwd)
protos=${PROTOS:-$here/../../../protos}
jars=${JARS:-/usr/share/java}
plugin=$(command -v grpc_java_plugin || command -v protoc-gen-grpc-java)
classpath=
for name in grpc-api grpc-core grpc-context grpc-netty grpc-protobuf grpc-protobuf-lite grpc-stub \
    protobuf guava opencensus-api geronimo-annotation-1.3-spec jctools-core perfmark-api \
    netty-buffer netty-codec netty-codec-http netty-codec-http2 netty-common netty-handler \
    netty-handler-proxy netty-resolver netty-transport netty-transport-native-unix-common; do
    if test -e "$jars/$name.jar"; then classpath="$classpath:$jars/$name.jar"; fi
done
rm -rf "$folder"
mkdir -p "$folder/stubs" "$folder/classes"
folder=$(cd "$folder" && pwd)
(cd "$protos" && find burnish/api/types burnish/api/verifier -name '*.proto') |
    xargs protoc -I"$protos" --java_out="$folder/stubs" --grpc-java_out="$folder/stubs" \
        --plugin=protoc-gen-grpc-java="$plugin"
find "$folder/stubs" -name '*.java' |
    xargs javac -nowarn -d "$folder/classes" -cp "$classpath" "$here/PolitenessNode.java"
cat >"$folder/run.sh" <<RUN
#!/bin/sh
exec java -cp "$folder/classes$classpath" PolitenessNode "\$@"
RUN
chmod +x "$folder/run.sh"
